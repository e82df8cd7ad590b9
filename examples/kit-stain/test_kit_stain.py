"""What kit asks of the plugin: a test for each check of its contract."""

import kit_stain

from kit import testing

test_contract = testing.suite(kit_stain)
