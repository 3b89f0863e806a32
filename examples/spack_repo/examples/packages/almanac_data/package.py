import pathlib

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

#: The sources lie beside this file, so that the examples build with no network.
HERE = pathlib.Path(__file__).parent.as_uri()


class AlmanacData(Package):
    """Example: a package of data alone, which nothing has to compile."""

    homepage = "https://spack.io/"
    url = f"{HERE}/days.csv"
    license("CC0-1.0")

    version("2026.1", sha256="8e88d42c9cdbdff874041695c9c08e28054b0f737221197a3786f24da9534308", expand=False)

    def install(self, spec, prefix):
        mkdirp(prefix.share)
        install("days.csv", prefix.share)
