"""Build the package with conf/ inside, and the compiled engine of the dense CRF if there is a C++ compiler."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Copy conf/ into the package as src/conf; outside a checkout, src.cli.conf_folder finds it there."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "src", "conf")
            shutil.rmtree(folder, ignore_errors=True)  # an earlier build may have left files that conf/ no longer has
            shutil.copytree("conf", folder)


class OptionalBuild(build_ext):
    """Build the extension if possible; otherwise print the reason in one line, because src.crf works without it."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"dense CRF: native engine not built ({reason}); the torch engine is used instead.", file=sys.stderr)


sources = Path("src/crf/native")
flags = [
    "-std=c++17",
    "-O3",
    "-falign-functions=64",  # otherwise the speed of vector loops varies by a few per cent with their address
    "-g0",  # Python's own flags often ask for debug information, which takes a quarter of the build time
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wno-psabi",
    "-Wno-maybe-uninitialized",
    "-pthread",
]
link = ["-pthread"]
if os.environ.get("CRF_SANITIZE"):  # `make sanitize`
    flags += ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    link += ["-fsanitize=address,undefined"]

setup(
    ext_modules=[
        Extension(
            "src.crf._native",
            sorted(map(str, sources.rglob("*.cpp"))),
            depends=sorted(map(str, sources.rglob("*.hpp"))),
            language="c++",
            extra_compile_args=flags,
            extra_link_args=link,
            optional=True,
        )
    ],
    cmdclass={"build_py": BuildWithConf, "build_ext": OptionalBuild},
)
