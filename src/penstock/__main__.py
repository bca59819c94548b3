"""The command ``penstock``, also as ``python -m penstock``."""

import sys


def main() -> None:
    """Run the command line, whatever the parent has done to the standard streams."""
    try:
        from penstock.descriptors import open_standard_streams

        open_standard_streams()  # before anything is imported that opens a file
        from penstock.cli import main as run_command
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        raise SystemExit(130) from None
    run_command()


if __name__ == "__main__":
    main()
