"""A cache to look at: a thousand builds with the words of real packages, failures, logs, and a stack that wants more than there is."""

from __future__ import annotations

from dataclasses import replace

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.config import Site
from cachelib.model.failure import Failure
from cachelib.model.record import Origin
from cachelib.model.site import SiteImage
from tests.support.caches import made_catalog, made_wanted

BUILDS, FAILURES = 1000, 12
SITE = Site(
    title="Research software cache", description="Binary packages of our stacks, built every night, that stock Spack installs.",
    url="https://owner.github.io/cache",
)  # fmt: skip
_OCI = "org.opencontainers.image."
_PARTS = {
    "autoconf": "Makes configure scripts out of templates.", "autoconf-archive": "More than 500 macros for autoconf.",
    "automake": "Makes Makefiles that keep to the GNU standards.", "benchmark": "A library to time snippets of C++ code, as unit tests do.",
    "brotli": "A compressor of streams, made for the web.", "c-blosc": "A compressor of binary data, faster than copying it.",
    "eigen": "Linear algebra in C++ templates: matrices, vectors, solvers.", "expat": "A parser of XML that reads streams.",
    "flac": "Lossless audio: an encoder, a decoder and their library.", "fmt": "Formatting for C++: quick, and safe by its types.",
    "freetype": "Draws fonts: small, portable, exact.", "gdbm": "A database of keys and values in one file.",
    "gflags": "Flags of a command line, defined where they are used.", "giflib": "Reads and writes GIF images.",
    "gmp": "Arithmetic of any precision: integers, fractions, floats.", "googletest": "A framework for tests in C++, with mocks.",
    "gsl": "More than 1,000 numerical routines for C and C++.", "hwloc": "Tells of cores, caches, NUMA nodes and devices of a machine.",
    "isl": "Sets and relations of integer points, as compilers need them.", "jansson": "JSON in C: encoding, decoding, changing.",
    "json-c": "JSON objects in C, counted by reference.", "lame": "An encoder of MP3 of high quality.",
    "libevent": "Calls back when a file can be read, a signal comes, or time is over.", "libffi": "Calls functions whose types are known only at run time.",
    "libiconv": "Turns one encoding of text into another.", "libjpeg-turbo": "JPEG images by vector instructions.",
    "libpng": "The reference library of PNG images.", "libsodium": "Encryption, signatures and hashes that are hard to misuse.",
    "libtiff": "Reads and writes TIFF images, and tools for them.", "libunwind": "Walks the call chain of a program.",
    "libuv": "Asynchronous input and output on every system.", "libxml2": "A parser of XML, with its tools.",
    "lz4": "Lossless compression at 500 MB/s a core.", "m4": "The traditional macro processor of Unix.",
    "mpc": "Complex arithmetic of any precision, rounded right.", "mpfr": "Floating point of any precision, rounded right.",
    "nasm": "An assembler for x86.", "ncurses": "Windows and forms in a terminal.", "nlohmann-json": "JSON for modern C++.",
    "numactl": "Says on which node of a NUMA machine a program runs.", "oniguruma": "Regular expressions in many encodings.",
    "opus": "Audio for speech and music at low delay.", "pugixml": "XML in C++: light, quick, with XPath.",
    "readline": "Lets people edit the line that they type.", "snappy": "Compression for speed rather than size.",
    "sqlite": "A whole SQL database in one file.", "texinfo": "Documentation in many formats from one source.",
    "tinyxml2": "A small parser of XML in C++.", "yaml-cpp": "Reads and writes YAML in C++.", "zlib-ng": "zlib with new ideas and vector instructions.",
    "zstd": "Compression as small as zlib's and much quicker.",
}  # fmt: skip
_LOG = """==> hdf5: Executing phase: 'build'
make -j4 V=1
libtool: compile:  gcc -DHAVE_CONFIG_H -O2 -c H5Zszip.c -o H5Zszip.o
libtool: link: gcc -O2 -shared -o .libs/libhdf5.so.310 H5Zszip.o -lsz -lz -lm
/usr/bin/ld: cannot find -lsz: No such file or directory
collect2: error: ld returned 1 exit status
make[2]: *** [Makefile:1432: libhdf5.la] Error 1
"""


def sample_image(builds: int = BUILDS, failures: int = FAILURES) -> SiteImage:
    """The image of such a cache."""
    catalog = _told(made_catalog(builds))
    failing = {failure.hash: failure for failure in map(_failure, range(failures))}
    return SiteImage(
        name="v1.1", mirror_url="oci://ghcr.io/owner/cache/v1.1", reference="ghcr.io/owner/cache/v1.1", catalog=catalog, failures=failing,
        logs=dict.fromkeys(failing, _LOG * 5), wanted=(made_wanted(catalog, min(failing, default="")),),
    )  # fmt: skip


def _told(catalog: Catalog) -> Catalog:
    return replace(catalog, entries={h: _entry(entry) for h, entry in catalog.entries.items()})


def _entry(entry: CatalogEntry) -> CatalogEntry:
    name = entry.annotations[f"{_OCI}title"].partition("@")[0]
    created = entry.annotations[f"{_OCI}created"]
    # A cache that grew for half a year, as far as its builds tell.
    at = int.from_bytes(entry.hash[:4].encode()) % 180
    when = f"2026-{at // 30 + 6:02}-{at % 28 + 1:02}{created[10:]}"
    about = _PARTS.get(name, "A part of the X Window System." if "x" in name or "proto" in name else "A library that others stand on.")
    return replace(
        entry, annotations={**entry.annotations, f"{_OCI}created": when, f"{_OCI}description": about, f"{_OCI}base.name": "ubuntu:24.04"}
    )


def _failure(at: int) -> Failure:
    h = f"{'abcdefghijkl'[at % 12] * 32}"
    return Failure(
        hash=h, label=f"hdf5@1.14.{at}/{h[:7]}", phase="build", message="ProcessError: Command exited with status 2: 'make' '-j4'",
        error_lines=("312: /usr/bin/ld: cannot find -lsz: No such file or directory", "make[2]: *** [Makefile:1432: libhdf5.la] Error 1"),
        since="2026-11-01T02:14:00Z", last=f"2026-11-{at + 1:02}T02:14:00Z", times=at + 1,
        origin=Origin(stack="everything", run="https://github.com/owner/cache/actions/runs/1"),
    )  # fmt: skip
