/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds that failed once, and how many steps they need; they are run first. */
/* clang-format off */
{5, 500},  /* a resume that was accepted while the disk still said disabled */
{13, 500}, /* the same, after a drain that was given up */
{412278, 1100}, /* a start was given up too early, since the name of its last waiter had gone */
