/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is looked at, and what can be found: one row each. The words are for scripts and stay; the commands are those
 * of Debian, Fedora and Arch, or one for all. Nothing is ever carried out: a person reads and decides.
 */
#include <assert.h>

#include "provision/preflight.h"

const struct pm_check_row pm_checks[PM_CHECK_COUNT] = {
    [PM_CHECK_CONFIGURATION] = {"configuration", PM_ABOUT_SYSTEM, "the file"},
    [PM_CHECK_KERNEL] = {"kernel", PM_ABOUT_SYSTEM, "its release"},
    [PM_CHECK_PROCESSES] = {"processes", PM_ABOUT_SYSTEM, "what is refused"},
    [PM_CHECK_CGROUP] = {"cgroup", PM_ABOUT_SYSTEM, "`v2`, `v1`, `mixed` or `none`"},
    [PM_CHECK_CONTAINER] = {"container", PM_ABOUT_SYSTEM, "its kind, or `none`"},
    [PM_CHECK_USER_NAMESPACES] = {"user_namespaces", PM_ABOUT_SYSTEM, "how many there may be"},
    [PM_CHECK_GPU] = {"gpu", PM_ABOUT_GPU, "how many there are"},
    [PM_CHECK_DRIVER] = {"driver", PM_ABOUT_GPU, "its version"},
    [PM_CHECK_DEVICE_NODES] = {"device_nodes", PM_ABOUT_GPU, "how many GPUs have one in /dev"},
    [PM_CHECK_DEVICE] = {"device", PM_ABOUT_GPU, "one row a device: its UUID"},
    [PM_CHECK_PERSISTENCE] = {"persistence", PM_ABOUT_GPU, "`on` or `off`"},
    [PM_CHECK_CUDA] = {"cuda", PM_ABOUT_GPU, "the CUDA that an engine, or the toolkit, is of"},
    [PM_CHECK_TOOL] = {"tool_…", PM_ABOUT_TOOLS, "its path"},
    [PM_CHECK_ENGINE] = {"engine", PM_ABOUT_TOOLS,
                         "one row an engine that a pool names: its program"},
    [PM_CHECK_DISK_RUNTIME] = {"disk_runtime", PM_ABOUT_DISK, "free bytes"},
    [PM_CHECK_DISK_STATE] = {"disk_state", PM_ABOUT_DISK, "free bytes"},
    [PM_CHECK_DISK_LOG] = {"disk_log", PM_ABOUT_DISK, "free bytes"},
    [PM_CHECK_DISK_CACHE] = {"disk_cache", PM_ABOUT_DISK, "free bytes"},
    [PM_CHECK_MEMORY] = {"memory", PM_ABOUT_MEMORY, "bytes that can be had"},
    [PM_CHECK_OVERCOMMIT] = {"overcommit", PM_ABOUT_MEMORY, "vm.overcommit_memory"},
    [PM_CHECK_SWAP] = {"swap", PM_ABOUT_MEMORY, "bytes in use"},
    [PM_CHECK_DESCRIPTORS] = {"descriptors", PM_ABOUT_LIMITS, "the hard limit"},
    [PM_CHECK_TASKS] = {"tasks", PM_ABOUT_LIMITS, "processes and threads that can be had"},
    [PM_CHECK_MEMLOCK] = {"memlock", PM_ABOUT_LIMITS, "the limit in bytes"},
    [PM_CHECK_CORE] = {"core", PM_ABOUT_LIMITS, "the hard limit in bytes"},
    [PM_CHECK_LISTEN] = {"listen", PM_ABOUT_NETWORK, "one row an address"},
    [PM_CHECK_SOCKET_PATH] = {"socket_path", PM_ABOUT_NETWORK, "bytes of the longest path"},
    [PM_CHECK_CLOCK] = {"clock", PM_ABOUT_CLOCK, "the time"},
};

const char *pm_check_group_name(enum pm_check_group group)
{
    static const char *const names[] = {"system", "gpu",    "tools",   "disk",
                                        "memory", "limits", "network", "clock"};
    static_assert(sizeof(names) / sizeof(names[0]) == PM_CHECK_GROUP_COUNT, "each has a name");

    return names[group];
}

const char *pm_outcome_name(enum pm_outcome outcome)
{
    static const char *const names[] = {"pass", "warn", "fail"};

    return names[outcome];
}

#define ALL(text)                                                                                  \
    {                                                                                              \
        [PM_DISTRO_OTHER] = (text)                                                                 \
    }

const struct pm_finding_row pm_findings[PM_FINDING_COUNT] = {
    [PM_FOUND_NOTHING] = {"", PM_PASSES, "", ALL(NULL)},
    [PM_FOUND_CONFIG_INVALID] = {"config_invalid", PM_FAILS,
                                 "the configuration is wrong; the rest is checked without it",
                                 ALL("poolctl config check")},
    [PM_FOUND_KERNEL_OLD] = {"kernel_old",
                             PM_FAILS,
                             "Linux before 5.4: no pidfds to wait for",
                             {[PM_DISTRO_OTHER] = "boot Linux 6.1 or newer",
                              [PM_DISTRO_DEBIAN] = "apt install linux-image-amd64 && reboot",
                              [PM_DISTRO_FEDORA] = "dnf upgrade kernel && reboot",
                              [PM_DISTRO_ARCH] = "pacman -Syu linux && reboot"}},
    [PM_FOUND_KERNEL_UNTRIED] = {"kernel_untried",
                                 PM_WARNS,
                                 "Linux before 6.1, the oldest that is tested",
                                 {[PM_DISTRO_OTHER] = "boot Linux 6.1 or newer",
                                  [PM_DISTRO_DEBIAN] = "apt install linux-image-amd64 && reboot",
                                  [PM_DISTRO_FEDORA] = "dnf upgrade kernel && reboot",
                                  [PM_DISTRO_ARCH] = "pacman -Syu linux && reboot"}},
    [PM_FOUND_PIDFD_REFUSED] = {"pidfd_refused", PM_FAILS,
                                "the kernel, or a container's filter, refuses pidfd_open",
                                ALL("update the container's runtime, or run it with "
                                    "--security-opt seccomp=unconfined")},
    [PM_FOUND_SUBREAPER_REFUSED] = {"subreaper_refused", PM_FAILS,
                                    "a process may not adopt the orphans below it",
                                    ALL("update the container's runtime, or run it with "
                                        "--security-opt seccomp=unconfined")},
    [PM_FOUND_CGROUP_NONE] = {"cgroup_none", PM_WARNS,
                              "no cgroups: an engine's tree is killed process by process",
                              ALL("mount -t cgroup2 none /sys/fs/cgroup")},
    [PM_FOUND_CGROUP_V1] = {"cgroup_v1",
                            PM_WARNS,
                            "cgroups of v1 only, which cannot kill a tree at once",
                            {[PM_DISTRO_OTHER] = "boot with systemd.unified_cgroup_hierarchy=1",
                             [PM_DISTRO_FEDORA] = "grubby --update-kernel=ALL "
                                                  "--args=systemd.unified_cgroup_hierarchy=1 && "
                                                  "reboot"}},
    [PM_FOUND_CGROUP_NO_KILL] = {"cgroup_no_kill", PM_WARNS,
                                 "Linux before 5.14: cgroups cannot kill a tree at once",
                                 ALL("boot Linux 6.1 or newer")},
    [PM_FOUND_CGROUP_NOT_DELEGATED] =
        {"cgroup_not_delegated", PM_WARNS,
         "our cgroup was not handed to us: an engine's tree is killed "
         "process by process",
         ALL("systemd-run --scope -p Delegate=yes orchestratord; in "
             "a unit: Delegate=yes")},
    [PM_FOUND_CONTAINER_NO_INIT] = {"container_no_init", PM_WARNS,
                                    "we are process 1: nobody reaps what loses its parent",
                                    ALL("podman run --init, docker run --init; in a pod: "
                                        "shareProcessNamespace: true")},
    [PM_FOUND_CONTAINER_READ_ONLY] = {"container_read_only", PM_WARNS,
                                      "the root is read-only, and a folder of ours lies on it",
                                      ALL("mount a volume or a tmpfs at {}")},
    [PM_FOUND_USERNS_OFF] = {"userns_off",
                             PM_FAILS,
                             "no user namespaces, which containers without root need",
                             {[PM_DISTRO_OTHER] = "sysctl -w user.max_user_namespaces=28633",
                              [PM_DISTRO_DEBIAN] = "sysctl -w user.max_user_namespaces=28633 "
                                                   "kernel.unprivileged_userns_clone=1"}},
    [PM_FOUND_USERNS_RESTRICTED] =
        {"userns_restricted", PM_WARNS,
         "AppArmor restricts user namespaces to programs with a profile",
         ALL("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")},
    [PM_FOUND_SUBIDS_MISSING] = {"subids_missing", PM_FAILS,
                                 "our user has no ranges in /etc/subuid and /etc/subgid",
                                 ALL("usermod --add-subuids 100000-165535 --add-subgids "
                                     "100000-165535 {}")},
    [PM_FOUND_GPU_MISSING] = {"gpu_missing", PM_FAILS, "pools want a GPU, and there is none",
                              ALL("give the machine a GPU (lspci -d 10de:), or its pools devices: "
                                  "cpu")},
    [PM_FOUND_DRIVER_MISSING] = {"driver_missing",
                                 PM_FAILS,
                                 "an NVIDIA GPU, and neither module nor library of its driver",
                                 {[PM_DISTRO_OTHER] = "install NVIDIA's driver",
                                  [PM_DISTRO_DEBIAN] = "apt install nvidia-driver && reboot",
                                  [PM_DISTRO_FEDORA] = "dnf install akmod-nvidia "
                                                       "xorg-x11-drv-nvidia-cuda && reboot",
                                  [PM_DISTRO_ARCH] = "pacman -S nvidia-open nvidia-utils && "
                                                     "reboot"}},
    [PM_FOUND_NOUVEAU_LOADED] =
        {"nouveau_loaded",
         PM_FAILS,
         "nouveau holds the GPU in place of NVIDIA's driver",
         {[PM_DISTRO_OTHER] = "echo blacklist nouveau > /etc/modprobe.d/nouveau.conf, make the "
                              "initramfs anew, reboot",
          [PM_DISTRO_DEBIAN] = "apt install nvidia-driver && reboot",
          [PM_DISTRO_FEDORA] = "dnf install akmod-nvidia && reboot",
          [PM_DISTRO_ARCH] = "pacman -S nvidia-open nvidia-utils && mkinitcpio -P && reboot"}},
    [PM_FOUND_DRIVER_NOT_LOADED] = {"driver_not_loaded", PM_FAILS,
                                    "the driver's library is there, its module is not loaded",
                                    ALL("modprobe nvidia; where it is refused: dmesg | grep -i "
                                        "nvidia")},
    [PM_FOUND_LIBRARY_MISSING] = {"library_missing",
                                  PM_FAILS,
                                  "the driver's module is loaded, its library is not there",
                                  {[PM_DISTRO_OTHER] = "install NVIDIA's libraries of the module's "
                                                       "version; in a container: --gpus all, or "
                                                       "--device nvidia.com/gpu=all",
                                   [PM_DISTRO_DEBIAN] = "apt install libnvidia-ml1 libcuda1",
                                   [PM_DISTRO_FEDORA] = "dnf install xorg-x11-drv-nvidia-cuda",
                                   [PM_DISTRO_ARCH] = "pacman -S nvidia-utils"}},
    [PM_FOUND_LIBRARY_STUB] = {"library_stub", PM_FAILS,
                               "the library is the toolkit's stub, which knows no GPU",
                               ALL("take the toolkit's stubs folder out of LD_LIBRARY_PATH and of "
                                   "devices.nvml")},
    [PM_FOUND_DRIVER_MISMATCH] = {"driver_mismatch", PM_FAILS,
                                  "library and module are of different versions, as after an "
                                  "update",
                                  ALL("reboot; or, with nothing on the GPUs: rmmod nvidia_uvm "
                                      "nvidia_drm nvidia_modeset nvidia && modprobe nvidia")},
    [PM_FOUND_DRIVER_BLOCKED] = {"driver_blocked", PM_FAILS,
                                 "the system keeps the GPUs from us: a container that lost its "
                                 "device cgroup",
                                 ALL("make the container anew: podman rm, podman run")},
    [PM_FOUND_DRIVER_SILENT] = {"driver_silent", PM_FAILS, "the driver does not answer in time",
                                ALL("dmesg | grep -i nvrm; then reboot")},
    [PM_FOUND_PROBE_MISSING] = {"probe_missing", PM_WARNS,
                                "pool-probe, which asks the driver, is not there",
                                ALL("install poolmgr anew: pool-probe belongs to it")},
    [PM_FOUND_PROBE_FAILED] = {"probe_failed", PM_WARNS, "pool-probe ended without an answer",
                               ALL("pool-probe --once shows what it says")},
    [PM_FOUND_NODES_MISSING] = {"nodes_missing", PM_FAILS,
                                "the module is loaded, and /dev has no nodes for its GPUs",
                                ALL("nvidia-modprobe -c 0 -u; in a container: --gpus all, or "
                                    "--device nvidia.com/gpu=all")},
    [PM_FOUND_UVM_MISSING] = {"uvm_missing", PM_FAILS,
                              "/dev/nvidia-uvm, which CUDA needs, is not there, and nothing makes "
                              "it when it is needed",
                              ALL("modprobe nvidia-uvm && nvidia-modprobe -u -c 0")},
    [PM_FOUND_NODES_DENIED] = {"nodes_denied", PM_FAILS, "we may not open a node",
                               ALL("usermod -aG {}, and log in anew")},
    [PM_FOUND_DEVICE_DENIED] = {"device_denied", PM_FAILS, "the driver refuses us this GPU",
                                ALL("ls -l /dev/nvidia*; in a container give it this GPU")},
    [PM_FOUND_DEVICE_BLOCKED] = {"device_blocked", PM_FAILS,
                                 "the system, or a driver of two versions, keeps this GPU from us",
                                 ALL("reboot; in a container: make it anew")},
    [PM_FOUND_DEVICE_RESET_REQUIRED] = {"device_reset_required", PM_FAILS, "the GPU needs a reset",
                                        ALL("nvidia-smi --gpu-reset -i {}, with nothing on it")},
    [PM_FOUND_DEVICE_LOST] = {"device_lost", PM_FAILS, "the GPU has fallen off the bus",
                              ALL("reboot; if it comes again: dmesg | grep -i xid")},
    [PM_FOUND_DEVICE_UNKNOWN] = {"device_unknown", PM_FAILS, "nobody can say how it is now",
                                 ALL("nvidia-smi -i {}; dmesg | grep -i nvrm")},
    [PM_FOUND_MIG_PENDING] = {"mig_pending", PM_FAILS,
                              "its MIG mode changes with the next reset: nothing is placed on it "
                              "until then",
                              ALL("nvidia-smi --gpu-reset -i {}, with nothing on it")},
    [PM_FOUND_COMPUTE_PROHIBITED] = {"compute_prohibited", PM_FAILS,
                                     "its compute mode lets no process in",
                                     ALL("nvidia-smi -i {} -c DEFAULT")},
    [PM_FOUND_REMAP_PENDING] = {"remap_pending", PM_WARNS,
                                "memory of it failed and is replaced with the next reset",
                                ALL("nvidia-smi --gpu-reset -i {}, with nothing on it")},
    [PM_FOUND_PERSISTENCE_OFF] =
        {"persistence_off",
         PM_WARNS,
         "nvidia-persistenced does not run: with no engine up the driver forgets the GPU, and the "
         "next start waits for it",
         {[PM_DISTRO_OTHER] = "systemctl enable --now nvidia-persistenced, or nvidia-smi -pm 1",
          [PM_DISTRO_DEBIAN] = "apt install nvidia-persistenced && systemctl enable --now "
                               "nvidia-persistenced",
          [PM_DISTRO_FEDORA] = "dnf install nvidia-persistenced && systemctl enable --now "
                               "nvidia-persistenced"}},
    [PM_FOUND_DRIVER_OLD] = {"driver_old",
                             PM_FAILS,
                             "older than the engine's CUDA needs",
                             {[PM_DISTRO_OTHER] = "install NVIDIA's driver {} or newer",
                              [PM_DISTRO_DEBIAN] = "apt install nvidia-driver, of {} or newer "
                                                   "(backports), then reboot",
                              [PM_DISTRO_FEDORA] = "dnf upgrade akmod-nvidia, to {} or newer, then "
                                                   "reboot",
                              [PM_DISTRO_ARCH] = "pacman -Syu nvidia-open nvidia-utils, to {} or "
                                                 "newer, then reboot"}},
    [PM_FOUND_DRIVER_BEHIND] = {"driver_behind",
                                PM_WARNS,
                                "older than the driver that came with this CUDA: code that is "
                                "compiled at its start (PTX) does not run",
                                {[PM_DISTRO_OTHER] = "install NVIDIA's driver {} or newer",
                                 [PM_DISTRO_DEBIAN] = "apt install nvidia-driver, of {} or newer "
                                                      "(backports), then reboot",
                                 [PM_DISTRO_FEDORA] = "dnf upgrade akmod-nvidia, to {} or newer, "
                                                      "then reboot",
                                 [PM_DISTRO_ARCH] = "pacman -Syu nvidia-open nvidia-utils, to {} "
                                                    "or newer, then reboot"}},
    [PM_FOUND_TOOL_MISSING] = {"tool_missing", PM_FAILS,
                               "not in PATH; a warning where it is only useful",
                               ALL("see the tools")},
    [PM_FOUND_ENGINE_MISSING] = {"engine_missing",
                                 PM_FAILS,
                                 "its program is not there",
                                 {[PM_DISTRO_OTHER] = "install it, or set engines.{}.path",
                                  [PM_DISTRO_DEBIAN] = "apt install llama.cpp-tools (from forky "
                                                       "on), or set engines.{}.path"}},
    [PM_FOUND_ENGINE_NOT_RUNNABLE] = {"engine_not_runnable", PM_FAILS,
                                      "its program may not be run by us", ALL("chmod +x {}")},
    [PM_FOUND_ENGINE_UNFETCHED] = {"engine_unfetched", PM_FAILS,
                                   "of a url or an image, which is not fetched yet",
                                   ALL("install the program yourself and set engines.{}.path")},
    [PM_FOUND_FOLDER_UNREADABLE] = {"folder_unreadable", PM_FAILS, "it cannot be looked at",
                                    ALL("ls -ld {}")},
    [PM_FOUND_FOLDER_NONE] = {"folder_none", PM_FAILS, "something else than a folder lies there",
                              ALL("mv {} elsewhere")},
    [PM_FOUND_FOLDER_READ_ONLY] = {"folder_read_only", PM_FAILS, "its file system is read-only",
                                   ALL("mount -o remount,rw the file system of {}; in a container "
                                       "mount a volume there")},
    [PM_FOUND_FOLDER_DENIED] = {"folder_denied", PM_FAILS, "we may not write there",
                                ALL("install -d -m 0700 -o {}")},
    [PM_FOUND_FOLDER_OPEN] = {"folder_open", PM_FAILS,
                              "the runtime folder is another user's, or under /tmp and open to "
                              "others: it holds sockets and keys",
                              ALL("rm -r {}, or set runtime_dir")},
    [PM_FOUND_DISK_FULL] = {"disk_full", PM_FAILS, "no room left",
                            ALL("du -xhd1 {} | sort -h; make room, or set another folder")},
    [PM_FOUND_DISK_LOW] = {"disk_low", PM_WARNS, "less room than may be needed",
                           ALL("du -xhd1 {} | sort -h; make room, or set another folder")},
    [PM_FOUND_INODES_LOW] = {"inodes_low", PM_FAILS, "fewer than 1024 files can be made",
                             ALL("du --inodes -xd1 {} | sort -n")},
    [PM_FOUND_MEMORY_UNKNOWN] = {"memory_unknown", PM_WARNS,
                                 "nobody can say how much memory there is",
                                 ALL("mount -t proc proc /proc")},
    [PM_FOUND_MEMORY_OUT] = {"memory_out", PM_FAILS, "less than 256 MiB can be had",
                             ALL("ps -eo rss,comm --sort=-rss | head; raise the cgroup's limit "
                                 "where it is one")},
    [PM_FOUND_MEMORY_LOW] = {"memory_low", PM_WARNS, "less than 1 GiB can be had",
                             ALL("ps -eo rss,comm --sort=-rss | head; raise the cgroup's limit "
                                 "where it is one")},
    [PM_FOUND_MEMORY_SHORT] = {"memory_short", PM_WARNS,
                               "less than the largest model of a pool on the CPU has: it waits for "
                               "room, or is refused",
                               ALL("a smaller model for {}, or more memory")},
    [PM_FOUND_OVERCOMMIT_STRICT] = {"overcommit_strict", PM_WARNS,
                                    "the kernel promises no more memory than there is (2), and "
                                    "little of that is left",
                                    ALL("sysctl -w vm.overcommit_memory=0")},
    [PM_FOUND_SWAP_USED] = {"swap_used", PM_WARNS,
                            "more than 256 MiB are swapped out: answers may wait for the disk",
                            ALL("swapoff -a && swapon -a, when memory allows; sysctl -w "
                                "vm.swappiness=10")},
    [PM_FOUND_DESCRIPTORS_SHORT] = {"descriptors_short", PM_FAILS,
                                    "fewer than limits.connections needs: two a connection, and 64",
                                    ALL("in the unit: LimitNOFILE=65536; in a shell, as root: "
                                        "ulimit -Hn 65536; in a container: --ulimit nofile=65536")},
    [PM_FOUND_DESCRIPTORS_LOW] = {"descriptors_low", PM_WARNS,
                                  "fewer than 4096: about one stream for two of them",
                                  ALL("in the unit: LimitNOFILE=65536; in a shell, as root: "
                                      "ulimit -Hn 65536; in a container: --ulimit nofile=65536")},
    [PM_FOUND_TASKS_LOW] = {"tasks_low", PM_WARNS,
                            "fewer processes and threads than the engines may need",
                            ALL("in the unit: TasksMax=infinity, LimitNPROC=infinity; in a "
                                "container: --pids-limit -1")},
    [PM_FOUND_MEMLOCK_LOW] = {"memlock_low", PM_WARNS,
                              "an engine is told --mlock, and may lock less than its model",
                              ALL("in the unit: LimitMEMLOCK=infinity; in a container: --ulimit "
                                  "memlock=-1")},
    [PM_FOUND_CORE_FORBIDDEN] = {"core_forbidden", PM_WARNS,
                                 "core_dumps is true, and the hard limit forbids them",
                                 ALL("in the unit: LimitCORE=infinity; in a container: --ulimit "
                                     "core=-1")},
    [PM_FOUND_PORT_TAKEN] = {"port_taken", PM_FAILS, "somebody else listens there",
                             ALL("ss -ltnp 'sport = {}'; end it, or set listen")},
    [PM_FOUND_PORT_PRIVILEGED] = {"port_privileged", PM_FAILS, "a low port, which is root's",
                                  ALL("sysctl -w net.ipv4.ip_unprivileged_port_start={}, or set "
                                      "listen")},
    [PM_FOUND_SOCKET_TAKEN] = {"socket_taken", PM_FAILS,
                               "somebody else listens there, or it is no socket",
                               ALL("ss -lxp src {}; end it, or remove the file")},
    [PM_FOUND_PATH_TOO_LONG] = {"path_too_long", PM_FAILS, "a socket's path has at most 107 bytes",
                                ALL("a shorter runtime_dir, or shorter ids of pools")},
    [PM_FOUND_CLOCK_WRONG] = {"clock_wrong",
                              PM_FAILS,
                              "the year cannot be: certificates and times will be wrong",
                              {[PM_DISTRO_OTHER] = "timedatectl set-ntp true, or date -s",
                               [PM_DISTRO_DEBIAN] =
                                   "apt install systemd-timesyncd && timedatectl set-ntp true",
                               [PM_DISTRO_FEDORA] =
                                   "dnf install chrony && systemctl enable --now chronyd",
                               [PM_DISTRO_ARCH] = "timedatectl set-ntp true"}},
    [PM_FOUND_CLOCK_STOPPED] = {"clock_stopped", PM_FAILS,
                                "the monotonic clock does not run: no deadline would ever come",
                                ALL("reboot the machine, or resume it")},
    [PM_FOUND_CLOCK_FREE] = {"clock_free",
                             PM_WARNS,
                             "no time server disciplines it: it drifts",
                             {[PM_DISTRO_OTHER] = "timedatectl set-ntp true",
                              [PM_DISTRO_DEBIAN] =
                                  "apt install systemd-timesyncd && timedatectl set-ntp true",
                              [PM_DISTRO_FEDORA] =
                                  "dnf install chrony && systemctl enable --now chronyd",
                              [PM_DISTRO_ARCH] = "timedatectl set-ntp true"}},
};
