/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent of one engine (SUP-9b), as a program of its own: pool-shim FOLDER, with its listening socket as
 * descriptor 3. And the protocol between it and whichever daemon is connected: packets of text over a
 * SOCK_SEQPACKET socket, the folder's shim.sock.
 *
 *   shim → daemon, in this order, each once for every connection:
 *     hello PID            of the shim
 *     spawned PID          of the engine        | failed MISSING TEXT   (MISSING 0 or 1)
 *     ready                its log has the ready line
 *     log N                it wrote N bytes; any number of times
 *     exited               exit.json says how
 *     obeyed               after every order: the shim is awake
     childless            nothing of its tree is left; the shim ends now and the lock with it
 *   daemon → shim:
 *     signal N             to the engine's process group
 *     kill                 SIGKILL to the whole tree, again and again until it is childless
 */
#ifndef PM_PROC_SHIM_H
#define PM_PROC_SHIM_H

#define PM_SHIM_LISTEN_FD  3
#define PM_SHIM_PACKET_MAX 1024

/* Runs until the engine's tree is gone; returns the exit status of the program. */
int pm_shim_run(const char *folder);

#endif
