import pathlib

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

#: The sources lie beside this file, so that the examples build with no network.
HERE = pathlib.Path(__file__).parent.as_uri()


class Libsundial(Package):
    """Example: a shared library that computes hours of daylight."""

    homepage = "https://spack.io/"
    url = f"{HERE}/sundial.c"
    license("Apache-2.0 OR MIT")

    version("1.2.0", sha256="4bac27abffd2fac87994129c3d4d49ac4ed07207ba01a4c9841f7c6bce154e94", expand=False)

    resource(
        name="header",
        url=f"{HERE}/sundial.h",
        sha256="e84857f076d5a63f0bde2510b02c74388227a5681adb34ef6844b6ed1227edd7",
        expand=False,
        placement="include",
    )

    depends_on("c", type="build")

    def install(self, spec, prefix):
        mkdirp(prefix.lib, prefix.include)
        install("include/sundial.h", prefix.include)
        cc = Executable(spack_cc)
        name = "libsundial.so.1"
        cc("-O2", "-shared", "-fPIC", "-Iinclude", f"-Wl,-soname,{name}",
           "-o", join_path(prefix.lib, name), "sundial.c", "-lm")  # fmt: skip
        symlink(name, join_path(prefix.lib, "libsundial.so"))
