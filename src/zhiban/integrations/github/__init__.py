"""GitHub as a tracker: an app that is installed, or a token; https://docs.github.com/rest."""
