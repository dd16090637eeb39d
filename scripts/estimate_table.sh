#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Estimates against a real engine with devices of its own (ggml-rpc-server): makes docs/estimates.md, in some five minutes.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

engine=build/engine-rpc
scripts/build.sh release
tools/fetch_engine.sh "$engine" llama.cpp-tools-extra libggml0-backend-rpc >/dev/null
/usr/bin/python3 scripts/estimate_table.py build/release/src/cli/poolctl "$engine"
