import pathlib

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

#: The sources lie beside this file, so that the examples build with no network.
HERE = pathlib.Path(__file__).parent.as_uri()


class Sundial(Package):
    """Example: a program that finds its shared library by RPATH."""

    homepage = "https://spack.io/"
    url = f"{HERE}/main.c"
    license("Apache-2.0 OR MIT")

    version("1.2.0", sha256="3b3f26c857fb03752f532e9a97a5fa047d00bf9b7acf8c36205efdb3d7d5b19a", expand=False)

    depends_on("c", type="build")
    depends_on("libsundial@1.2:", type=("build", "link"))

    def install(self, spec, prefix):
        mkdirp(prefix.bin)
        cc = Executable(spack_cc)
        cc("-O2", "-o", join_path(prefix.bin, "sundial"), "main.c", "-lsundial")

    def setup_run_environment(self, env):
        env.set("SUNDIAL_ROOT", self.prefix)
