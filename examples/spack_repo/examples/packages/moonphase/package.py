import pathlib

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

#: The sources lie beside this file, so that the examples build with no network.
HERE = pathlib.Path(__file__).parent.as_uri()


class Moonphase(Package):
    """Example: a program with a variant."""

    homepage = "https://spack.io/"
    url = f"{HERE}/moonphase.c"
    license("Apache-2.0 OR MIT")

    version("2.0", sha256="7ab6841f0c75d1fc1bb6e7d0ba1df9725a47e24799e792de6183c29eb4c00e18", expand=False)

    variant("emoji", default=False, description="Draw the moon instead of naming its phase")

    depends_on("c", type="build")

    def install(self, spec, prefix):
        mkdirp(prefix.bin)
        flags = ["-DMOONPHASE_EMOJI"] if spec.satisfies("+emoji") else []
        cc = Executable(spack_cc)
        cc("-O2", *flags, "-o", join_path(prefix.bin, "moonphase"), "moonphase.c", "-lm")
