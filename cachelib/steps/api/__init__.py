"""The static REST API of the site: what each body holds, how it is cut into files, and the description of all of it."""
