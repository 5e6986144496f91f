"""Build the package with conf/ inside, and the dense CRF's compiled engine where there is a C++ compiler."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Copy conf/ into the package as src/conf, where src.cli.conf_folder looks for it outside a checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "src", "conf")
            shutil.rmtree(folder, ignore_errors=True)  # files of an earlier build that conf/ has no more
            shutil.copytree("conf", folder)


class OptionalBuild(build_ext):
    """The extension speeds src.crf up and is never needed: say in one line that it was left out, and go on."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"dense CRF: native engine not built ({reason}); the torch engine serves.", file=sys.stderr)


sources = Path("src/crf/native")
flags = [
    "-std=c++17",
    "-O3",
    "-falign-functions=64",  # else vector loops vary by some per cent in speed with where they happen to lie
    "-g0",  # Python's own flags often ask for debug information, which takes a quarter of the time
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
