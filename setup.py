"""Builds the compiled operator: grouppose/ops/_cpu.so, and _cuda.so where there is an nvcc.

Environment:
    GROUPPOSE_BUILD       cpu: the CPU kernels alone; cuda: both, or fail; none: neither
    FORCE_CUDA=1          a failed CUDA build fails the installation
    TORCH_CUDA_ARCH_LIST  the GPUs to compile for, such as "8.0;9.0+PTX"
    CUDA_HOME, CXX        the CUDA toolkit, the C++ compiler
    MAX_JOBS              compiler processes at a time
"""

import concurrent.futures
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, __version__, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ModuleNotFoundError:
    sys.exit(
        f"grouppose: the build found setuptools {__version__}, too old for pyproject.toml. Run\n"
        '    pip install "setuptools>=77"\n'
        "and install again."
    )

LAUNCHER = ("config", "datasets", "util")
SOURCES = Path("grouppose/ops/csrc")
DEFINES = ["-DTORCH_TARGET_VERSION=0x020b000000000000"]  # the stable ABI of torch 2.11
CXX_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wno-psabi"]
# traps and errno would keep loops from being vectorised; a * b + c may round once
MATH_FLAGS = ["-fno-trapping-math", "-fno-math-errno", "-ffp-contract=fast"]
ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
MODE = os.environ.get("GROUPPOSE_BUILD", "")
FORCE_CUDA = MODE == "cuda" or os.environ.get("FORCE_CUDA") == "1"


def say(line):
    print(f"grouppose: {line}", flush=True)


def find_compiler():
    """The command of the C++ compiler, or None."""
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    return None


def find_toolkit():
    """The CUDA toolkit's own folder, or None; an nvcc on the PATH may be a wrapper elsewhere."""
    places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    nvcc = shutil.which("nvcc")
    if nvcc:
        dry_run = subprocess.run(
            [nvcc, "-dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull],
            capture_output=True,
            text=True,
            check=False,
        )
        places += re.findall(r"^#\$ TOP=(.+)$", dry_run.stderr, re.MULTILINE)
        places.append(Path(nvcc).resolve().parents[1])
    for place in (*places, "/usr/local/cuda"):
        if place and (Path(place) / "bin/nvcc").exists():
            return Path(place).resolve()
    return None


def architecture_flags(torch, nvcc):
    """The list to compile for, and nvcc's flags for it."""
    named = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(" ", ";").strip(";")
    if not named and torch.cuda.is_available():
        found = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
        named = ";".join(f"{major}.{minor}" for major, minor in sorted(found))
        say(f"compiling for the GPUs of this machine: {named}")
    elif not named:
        query = subprocess.run(
            [nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True
        )
        known = {f"{int(n[:-1])}.{n[-1]}" for n in re.findall(r"sm_(\d+)\b", query.stdout)}
        named = ";".join(a for a in ARCHITECTURES if a in known) + "+PTX"
        say(f"no GPU in sight, compiling for {named}; TORCH_CUDA_ARCH_LIST changes that")
    flags = []
    for entry in named.split(";"):
        number = entry.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if entry.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return named, flags


def run_all(commands):
    """Runs commands side by side; a failure raises with what the compiler said."""
    jobs = int(os.environ.get("MAX_JOBS", 0)) or os.cpu_count() or 1

    def run(command):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{shlex.join(map(str, command))}\n{result.stdout}{result.stderr}")
        if result.stderr:
            print(result.stderr, file=sys.stderr)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, commands))


class BuildKernels(build_ext):
    """Plain libraries that torch loads: no Python in them, so any Python version runs them."""

    def run(self):
        if MODE not in ("", "cpu", "cuda", "none"):
            sys.exit(f"grouppose: GROUPPOSE_BUILD={MODE}; expected cpu, cuda or none")
        if MODE == "none":
            say("GROUPPOSE_BUILD=none: no kernels are built; the slow reference runs instead")
            self.extensions = []
        super().run()

    def get_ext_filename(self, fullname):
        return fullname.replace(".", os.sep) + ".so"

    def build_extensions(self):
        try:
            import torch
        except ModuleNotFoundError:
            sys.exit(
                "grouppose: the build does not see torch. Install torch first, then install with\n"
                "    pip install --no-build-isolation .\n"
                "(an isolated build would fetch another torch and compile against that one)."
            )
        self.extensions = [e for e in self.extensions if self.try_extension(e, torch)]

    def try_extension(self, extension, torch):
        """Builds one library; False, and a line that says why, where that cannot be."""
        is_cuda = extension.name.endswith("_cuda")
        obstacle = self.cuda_obstacle(torch) if is_cuda else self.cpu_obstacle(torch)
        if not obstacle:
            try:
                (self.build_cuda if is_cuda else self.build_cpu)(extension, torch)
                return True
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                obstacle = f"the build failed:\n{error}\n"
        if is_cuda and FORCE_CUDA:
            sys.exit(f"grouppose: CUDA kernels were asked for, but {obstacle}")
        instead = "CPU kernels alone" if is_cuda else "the slow reference will run instead"
        say(f"no {extension.name.rpartition('_')[2].upper()} kernels, {instead}: {obstacle}")
        return False

    def cpu_obstacle(self, torch):
        if tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 11):
            return f"torch {torch.__version__} is older than 2.11, whose stable ABI they need"
        if not find_compiler():
            return "there is no C++ compiler (set CXX, or install g++ or clang++)"
        return ""

    def cuda_obstacle(self, torch):
        if MODE == "cpu":
            return "GROUPPOSE_BUILD=cpu"
        if torch.version.cuda is None:
            return "this torch was built without CUDA"
        toolkit = find_toolkit()
        if toolkit is None:
            return "there is no nvcc (set CUDA_HOME or put it on the PATH)"
        version = subprocess.run(
            [toolkit / "bin/nvcc", "--version"], capture_output=True, text=True, check=True
        )
        release = re.search(r"release (\d+)\.", version.stdout)
        if release and release[1] != torch.version.cuda.split(".")[0]:
            return f"nvcc is CUDA {release[1]}, torch is built for CUDA {torch.version.cuda}"
        return self.cpu_obstacle(torch)

    def objects(self, extension):
        """A path for each source's object file; stems may repeat, names do not."""
        folder = Path(self.build_temp) / extension.name
        folder.mkdir(parents=True, exist_ok=True)
        return {source: folder / (Path(source).name + ".o") for source in extension.sources}

    def link(self, extension, objects, libraries):
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        run_all([[*find_compiler(), "-shared", *objects, *libraries, "-o", target]])
        say(f"built {target.name}")

    def build_cpu(self, extension, torch):
        home = Path(torch.__file__).parent
        compiler = find_compiler()
        objects = self.objects(extension)
        flags = [*CXX_FLAGS, *MATH_FLAGS, *DEFINES, f"-I{home / 'include'}"]
        run_all([[*compiler, *flags, "-c", source, "-o", o] for source, o in objects.items()])
        self.link(extension, objects.values(), [f"-L{home / 'lib'}", "-ltorch_cpu", "-lc10"])

    def build_cuda(self, extension, torch):
        home, toolkit = Path(torch.__file__).parent, find_toolkit()
        nvcc = toolkit / "bin/nvcc"
        names, architectures = architecture_flags(torch, nvcc)
        defines = [*DEFINES, "-DUSE_CUDA", f'-DGROUPPOSE_ARCHITECTURES="{names}"']
        defines += [f"-I{home / 'include'}", f"-I{toolkit / 'include'}"]
        nvcc_flags = ["-std=c++20", "-O3", "-ccbin", find_compiler()[0]]
        nvcc_flags += ["--threads=2", "-Xcompiler", "-fPIC,-fvisibility=hidden", *architectures]
        objects = self.objects(extension)
        run_all(
            [
                [nvcc, *nvcc_flags, *defines, "-c", source, "-o", o]
                if source.endswith(".cu")
                else [*find_compiler(), *CXX_FLAGS, *defines, "-c", source, "-o", o]
                for source, o in objects.items()
            ]
        )
        folders = [f"-L{folder}" for folder in (toolkit / "lib64", toolkit / "lib", home / "lib")]
        libraries = ["-ltorch_cpu", "-ltorch_cuda", "-lc10", "-lcudart"]
        self.link(extension, objects.values(), [*folders, *libraries])


class CopyLauncher(build_py):
    """Puts main.py and its folders inside the package: at the top, names like util may be taken."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        files = [Path("main.py"), *(f for name in LAUNCHER for f in Path(name).rglob("*.py"))]
        for file in files:
            target = Path(self.build_lib) / "grouppose" / "launcher" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(file), str(target))


class TagWheel(bdist_wheel):
    """A wheel for one platform and any Python 3."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = MODE == "none"

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


def extension(device):
    files = sorted(
        str(path) for path in (SOURCES / device).iterdir() if path.suffix in (".cpp", ".cu")
    )
    return Extension(f"grouppose.ops._{device}", files, optional=True)


devices = ["cpu"] if platform.system() == "Darwin" else ["cpu", "cuda"]
setup(
    ext_modules=[extension(device) for device in devices],
    # a wheel holds what its own build made, not what an earlier one left in the source tree
    exclude_package_data={"": ["*.so", "ops/*.so"]},
    cmdclass={"build_ext": BuildKernels, "build_py": CopyLauncher, "bdist_wheel": TagWheel},
)
