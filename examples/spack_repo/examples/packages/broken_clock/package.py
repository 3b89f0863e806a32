import pathlib

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

#: The sources lie beside this file, so that the examples build with no network.
HERE = pathlib.Path(__file__).parent.as_uri()


class BrokenClock(Package):
    """Example: a package whose build fails, on purpose."""

    homepage = "https://spack.io/"
    url = f"{HERE}/clock.c"
    license("Apache-2.0 OR MIT")

    version("0.1", sha256="ac20b3258ff34b8affe6ae45a7b93c53cecedb880040cb66cfb643e9fc000d5c", expand=False)

    depends_on("c", type="build")
    depends_on("libsundial", type="link")

    def install(self, spec, prefix):
        mkdirp(prefix.bin)
        cc = Executable(spack_cc)
        cc("-o", join_path(prefix.bin, "broken-clock"), "clock.c", "-lsundial")
