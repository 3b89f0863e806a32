"""What the pages of the site show beside lists of packages, worked out as values: templates only lay them out."""
