"""`python -m kilnet`."""

from kilnet.cli import main

if __name__ == "__main__":
    main()
