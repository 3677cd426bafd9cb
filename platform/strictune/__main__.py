"""Run ``python -m strictune``."""

from strictune.cli import main

raise SystemExit(main())
