"""
Check the typed surface with each checker that is installed.

    python -m tests.typing
"""

import sys

from tests.typing.checkers import CHECKERS, absent, differences, errors, marked


def main() -> int:
    failed = False
    for checker in CHECKERS:
        wrong = [why] if (why := absent(checker)) else differences(marked(checker), errors(checker))
        failed = failed or bool(wrong)
        print(f"{checker}: {'; '.join(wrong) or f'{len(marked(checker))} errors, as marked'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
