#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints `ok …` or `not ok …` for each check; the exit status is 0 only when all are ok.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

status=0
check() {
    local name=$1 output; shift
    if output=$("$@" 2>&1); then echo "ok $name"
    else echo "not ok $name"; printf '%s\n' "$output" | head -n 40; status=1
    fi
}
sources() { find src include tests bench examples -name '*.[ch]' 2>/dev/null | sort; }

headers_compile() {
    for header in include/poolmgr/*.h; do
        gcc -std=c99 -pedantic-errors -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c "$header" &&
            g++ -std=c++11 -pedantic-errors -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ "$header" || return 1
    done
}

# shellcheck disable=SC2046
check "formatting is clang-format's" clang-format --dry-run -Werror $(sources)
check "each folder includes only itself and what stands above it" /usr/bin/python3 scripts/layers.py
check "public headers are strict C99 and C++" headers_compile
# shellcheck disable=SC2046
check "shell scripts are shellcheck's" shellcheck -x -S warning $(git ls-files '*.sh' .ci/run 2>/dev/null || find scripts tools -name '*.sh')
check "links of the pages lead somewhere" /usr/bin/python3 scripts/links.py
check "what is built has a test that names it, and nothing else has" /usr/bin/python3 scripts/spec_ids.py
check "Python is well-formed" /usr/bin/python3 -m compileall -q scripts tools tests bench
exit $status
