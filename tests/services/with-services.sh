#!/usr/bin/env bash
# with-services.sh CMD...: runs CMD with the test services up and their SIDESTREAM_TEST_* variables set, and always stops them.
# With SIDESTREAM_TEST_KAFKA already set it only runs CMD.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/services.py" run "$@"
