"""The command `holdfast`, also `python -m holdfast`: machine settings first, then the command line."""

from holdfast.machine import set_threads

set_threads()  # before torch is imported

from holdfast.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
