# SPDX-License-Identifier: Apache-2.0
"""serve.feature; all its steps are shared ones."""
from pytest_bdd import scenarios

scenarios("serve.feature")
