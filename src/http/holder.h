/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_HTTP_HOLDER_H
#define PM_HTTP_HOLDER_H

#include <stdbool.h>

struct pm_holder {
    int pid;
    char name[32]; /* as /proc tells it; "" unknown */
};

/* Which process has the socket of that inode open, by /proc below `root` ("": this machine). False: none whose
 * descriptors we may see. */
bool pm_socket_holder(const char *root, unsigned long inode, struct pm_holder *ret);

#endif
