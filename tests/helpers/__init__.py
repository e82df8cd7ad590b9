"""What several test files share: doubles, fixtures, made data, references."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
