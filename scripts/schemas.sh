#!/bin/sh
# Checks workflows, templates of issues and the citation against their schemas, without a network.
#
# usage: sh scripts/schemas.sh CHECK_JSONSCHEMA
set -eu
check() {
    schema=$1
    shift
    "$command" --builtin-schema "vendor.$schema" "$@"
}
command=$1
check github-workflows .github/workflows/*.yml
check github-issue-config .github/ISSUE_TEMPLATE/config.yml
check github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
check citation-file-format CITATION.cff
