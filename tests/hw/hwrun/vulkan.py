# SPDX-License-Identifier: Apache-2.0
"""How an engine that brings its own loader and libc reaches the Vulkan driver of the machine. What lacks is seldom told:
the driver then only gives no vkCreateInstance. So several ways are tried, and the linker says what it looked for."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from .child import ChildFailed, how, run

SECONDS = 40    # for all ways together
ICDS = ("/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json",
        "/usr/share/vulkan/icd.d/nvidia_icd.json", "/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.x86_64.json",
        "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json")
EGL_VENDORS = ("/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json",
               "/usr/share/glvnd/egl_vendor.d/10_nvidia.json", "/etc/glvnd/egl_vendor.d/10_nvidia.json")
FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64")
DRIVERS_OWN = ("libnvidia", "libGLX_nvidia", "libEGL_nvidia", "libcuda")
ENTRY_POINT = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_LOCAL)
version = ctypes.c_uint32(5)
code = library.vk_icdNegotiateLoaderICDInterfaceVersion(ctypes.byref(version))
library.vk_icdGetInstanceProcAddr.restype = ctypes.c_void_p
found = library.vk_icdGetInstanceProcAddr(None, b"vkCreateInstance")
print("negotiated %d: %d; vkCreateInstance %s" % (version.value, code, "is given" if found else "is not given"))
"""


class Folder:
    """A folder that goes with the group: links to the driver's libraries alone, and driver files of our own."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="pmhw-vulkan-")
        self.links = os.path.join(self.path, "driver")
        os.mkdir(self.links)

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def driver_file(self, library):
        path = os.path.join(self.path, os.path.basename(library) + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"file_format_version": "1.0.1", "ICD": {"library_path": library, "api_version": "1.4.0"}}, f)
        return path


def libraries_of_driver():
    """name → path, of what belongs to the driver alone: never the machine's libc."""
    found = []
    try:
        listed = subprocess.run(["ldconfig", "-p"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                                env={"PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}, timeout=5).stdout.decode()
        found += [line.split(" => ")[1] for line in listed.splitlines() if " => " in line and "x86-64" in line]
    except (OSError, subprocess.TimeoutExpired):
        pass
    for folder in [f for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f] + list(FOLDERS):
        found += sorted(glob.glob(os.path.join(folder, "lib*.so*")))
    own = {}
    for path in found:
        if os.path.basename(path).startswith(DRIVERS_OWN) and os.path.exists(path):
            own.setdefault(os.path.basename(path), path)
    return own


def linker_says(prefix):
    """Names that the linker looked for in vain, and its errors, from the files of LD_DEBUG=libs,files."""
    wanted, loaded, errors = [], set(), []
    for path in glob.glob(prefix + ".*"):
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                if "find library=" in line:
                    wanted.append(re.search(r"find library=(\S+)", line).group(1))
                elif "generating link map" in line:
                    loaded.add(os.path.basename(re.search(r"file=(\S+)", line).group(1)))
                elif "error:" in line and "undefined symbol: ggml_" not in line:  # GGML asks for what some backends have
                    errors.append(line.split(":", 1)[1].strip())
        os.unlink(path)
    return sorted(set(wanted) - loaded), errors[:20]


class Way:
    def __init__(self, what, environment):
        self.what, self.environment = what, environment

    def go(self, h, engine, folder, seconds):
        """What the engine says that it sees, as a fact."""
        prefix = os.path.join(folder.path, "ld")
        environment = dict(self.environment, VK_LOADER_DEBUG="error,warn,driver", LD_DEBUG="libs,files",
                           LD_DEBUG_OUTPUT=prefix)
        told = {"way": self.what, "environment": {k: v for k, v in self.environment.items() if k.startswith(
            ("VK_", "LD_", "__EGL", "GGML_"))}}
        begun = time.monotonic()
        try:
            status, out, err = run([engine, "--list-devices"], seconds, environment)
        except ChildFailed as e:
            status, out, err = None, "", str(e)
        lacks, errors = linker_says(prefix)
        said = [line for line in err.splitlines() if "ERROR" in line or "WARNING" in line]
        told.update(seconds=round(time.monotonic() - begun, 2), status=status, out=out, lacks=lacks, linker=errors,
                    loader=list(dict.fromkeys(said))[:20], err=err[-1500:],
                    devices=[line.strip() for line in out.splitlines() if line.strip().startswith("Vulkan")])
        h.report.log("a way to Vulkan: %s\n%s\n%s%s" % (self.what, json.dumps(told, indent=1), out, err))
        return told


def ways_of(engine, environment, folder):
    """In the order in which they are tried."""
    own = libraries_of_driver()
    for name, path in own.items():
        os.symlink(path, os.path.join(folder.links, name))
    home = os.path.dirname(os.path.dirname(os.path.dirname(engine)))
    display = [p for p in (os.path.join(home, "usr/lib/display"),) if os.path.isdir(p)]
    vendors = [p for p in EGL_VENDORS if os.path.exists(p)]
    base = dict(environment, GGML_VK_VISIBLE_DEVICES="0")
    if vendors:
        base["__EGL_VENDOR_LIBRARY_FILENAMES"] = vendors[0]
    given = [base["VK_DRIVER_FILES"]] if "VK_DRIVER_FILES" in base else [p for p in ICDS if os.path.exists(p)][:1]

    def with_(libraries, files):
        made = dict(base)
        if libraries:
            made["LD_LIBRARY_PATH"] = ":".join(libraries + base.get("LD_LIBRARY_PATH", "").split(":")).rstrip(":")
        if files:
            made["VK_DRIVER_FILES"] = files[0]
        return made

    ways = [Way("the driver's file, with what was carried", with_(display, given)),
            Way("the driver's file, its libraries by links", with_(display + [folder.links], given))]
    for name in ("libGLX_nvidia.so.0", "libEGL_nvidia.so.0"):
        if name in own:
            ways.append(Way("%s by its path, its libraries by links" % name, with_(
                display + [folder.links], [folder.driver_file(own[name])])))
    return ways, own


def diagnose(h, engine, ways, own):
    """What lacks according to the engine's linker, and whether the driver works under the machine's own libc."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(engine)))
    linker = os.path.join(home, "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    environment = ways[min(1, len(ways) - 1)].environment
    found = {"dev": sorted(n for n in os.listdir("/dev") if n.startswith(("nvidia", "dri")))}
    for name in ("libGLX_nvidia.so.0", "libEGL_nvidia.so.0"):
        for what, words in (("by the engine's linker", [linker, "--list", own.get(name, name)]),
                            ("under the machine's libc", [sys.executable, "-c", ENTRY_POINT, own.get(name, name)])):
            try:
                status, out, err = run(words, 5, environment)
                lines = (out + err).splitlines()
                lines = [line.strip() for line in lines if "not found" in line or "negotiated" in line or status]
                found["%s %s" % (name, what)] = [how(status)] + lines[-20:]
            except ChildFailed as e:
                found["%s %s" % (name, what)] = [str(e)]
    found["what fails while it is asked"] = failures(h, home, own.get("libGLX_nvidia.so.0"), environment)
    h.report.fact("vulkan_needs", found)
    h.report.log("what the driver needs: %s" % json.dumps(found, indent=1))
    for key, lines in found.items():
        h.report.note("Vulkan: %s" % key, "; ".join(lines))


def failures(h, home, library, environment):
    """The system calls of the driver that fail, where strace was carried along: what LD_DEBUG does not tell."""
    strace, said = os.path.join(home, "usr/bin/strace"), os.path.join(h.report.folder, "strace.new")
    if not library or not os.path.exists(strace):
        return ["not looked at"]
    try:
        run([strace, "-f", "-o", said, "-e", "trace=openat,access,readlink,ioctl,connect,mknod", sys.executable,
             "-c", ENTRY_POINT, library], 8, environment)
        with open(said, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        os.unlink(said)
    except (ChildFailed, OSError) as e:
        return [str(e)]
    begun = max((i for i, line in enumerate(lines) if os.path.basename(library) in line), default=0)
    h.report.log("strace since %s was opened:\n%s" % (library, "\n".join(lines[begun:][-600:])))
    return [line for line in lines[begun:] if " = -1 " in line][-40:]


def find_way(h, engine, environment, name):
    """(the environment in which the engine sees a Vulkan device of this name, or else another one; its lines); None
    where there is no way."""
    folder = Folder()
    h.kept.append(folder)
    ways, own = ways_of(engine, environment, folder)
    h.report.fact("vulkan_libraries", own)
    until, told, other = time.monotonic() + SECONDS, [], None
    for way in ways:
        seconds = min(15, until - time.monotonic(), h.left())
        if seconds < 1:
            h.report.note("ways to Vulkan", "no time was left for: %s" % way.what)
            break
        told.append(way.go(h, engine, folder, seconds))
        h.report.fact("vulkan_ways", told)
        h.report.note("a way to Vulkan: %s" % way.what, "%s; %s; the linker looked in vain for: %s" % (
            "; ".join(told[-1]["devices"]) or "no device",
            "; ".join(told[-1]["loader"] + told[-1]["linker"])[-400:] or "the loader is content",
            ", ".join(told[-1]["lacks"]) or "nothing"))
        if any(name in line for line in told[-1]["devices"]):
            return way.environment, told[-1]["devices"]
        if told[-1]["devices"]:
            other = other or (way.environment, told[-1]["devices"])
    diagnose(h, engine, ways, own)
    return other
