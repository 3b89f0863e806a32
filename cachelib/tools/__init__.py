"""Outside tools, one a module: Spack, git, the disk, a registry, a terminal."""
