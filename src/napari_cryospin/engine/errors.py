"""The one exception that is meant to be read by the user."""


class InputError(Exception):
    """Input that the program cannot use.

    The message is one clear sentence: what is wrong, in which file or field, what to do.
    The command line prints it and ends with exit code 2; the dock shows it.
    """
