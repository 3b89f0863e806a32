import pathlib

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

#: The sources lie beside this file, so that the examples build with no network.
HERE = pathlib.Path(__file__).parent.as_uri()


class PyAlmanac(Package):
    """Example: a package of Python alone. The path of its data lies in its text, so relocation matters."""

    homepage = "https://spack.io/"
    url = f"{HERE}/almanac.py"
    license("Apache-2.0 OR MIT")

    version("0.3.0", sha256="cddd2a166b25a8f7fdc4e73ed906327aed33f16c9806fc437f20103e7bac5cf5", expand=False)

    depends_on("python@3.9:", type=("build", "run"))
    depends_on("almanac-data@2026:", type=("build", "run"))

    def install(self, spec, prefix):
        mkdirp(prefix.bin)
        with open("almanac.py", encoding="utf-8") as file:
            source = file.read()
        source = source.replace("@ALMANAC_DATA@", join_path(spec["almanac-data"].prefix.share, "days.csv"))
        program = join_path(prefix.bin, "almanac")
        with open(program, "w", encoding="utf-8") as file:
            file.write(f"#!{spec['python'].command.path}\n{source}")
        set_executable(program)
