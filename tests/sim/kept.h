/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds that failed once, and how many steps they need; they are run first. */
/* clang-format off */
{1, 100},
