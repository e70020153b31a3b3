#!/bin/bash
# devstack for one plugin: the functions of devstack that haqn's plugin calls, with devstack's names, arguments and
# effects, and the order in which stack.sh reads a plugin's files.
#
#   devstack.sh LOCALRC MODE [PHASE]
#
# LOCALRC sets what stack.sh knows (ENABLED_SERVICES, HOST_IP, DEST, ...) and what this file needs: HARNESS_DIR for its
# own state, HARNESS_PYTHON, DATABASE_SOCKET, KEYSTONE_SERVICE_URI. Processes are sessions with pid files, not systemd's
# units; `sudo` is nothing, for this runs as root.
set -o errexit -o errtrace -o pipefail
trap 'echo "devstack.sh: failed at ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR

function die {
    local line=$1
    shift
    echo "die at $line: $*" >&2
    exit 1
}

function sudo {
    "$@"
}

# -- functions-common: services ---------------------------------------------------------------------------------------

function is_service_enabled {
    local name
    for name in "$@"; do
        [[ ,$ENABLED_SERVICES, == *,$name,* ]] && return 0
    done
    return 1
}

function enable_service {
    local name
    for name in "$@"; do
        # what local.conf has disabled stays disabled
        if ! is_service_enabled "$name" && [[ ,$DISABLED_SERVICES, != *,$name,* ]]; then
            ENABLED_SERVICES+=,$name
        fi
    done
}

function disable_service {
    local name
    for name in "$@"; do
        DISABLED_SERVICES+=,$name
        ENABLED_SERVICES=,$ENABLED_SERVICES,
        ENABLED_SERVICES=${ENABLED_SERVICES//,$name,/,}
    done
}

# run_process service "command line" [group] [user]
function run_process {
    local name=$1 command=$2 pid_file=$HARNESS_DIR/$1.pid
    is_service_enabled "$name" || return 0
    if [[ -e $pid_file ]] && kill -0 "$(<"$pid_file")" 2>/dev/null; then
        return 0
    fi
    # shellcheck disable=SC2016 # $$ and $0 are those of the inner shell
    setsid --fork sh -c 'echo $$ >"$0.pid"; exec '"$command"' >"$0.log" 2>&1 </dev/null' "$HARNESS_DIR/$name"
}

function stop_process {
    local pid
    is_service_enabled "$1" && [[ -e $HARNESS_DIR/$1.pid ]] || return 0
    pid=$(<"$HARNESS_DIR/$1.pid")
    if kill "$pid" 2>/dev/null; then
        timeout 30 tail --pid="$pid" -f /dev/null
    fi
    rm -f "$HARNESS_DIR/$1.pid"
}

# wait_for_service timeout url
function wait_for_service {
    local deadline=$((SECONDS + $1))
    until "$HARNESS_PYTHON" -S -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$2" \
        2>/dev/null; do
        ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
}

# -- functions-common, inc/ini-config, inc/python: files and programs --------------------------------------------------

# iniset file section option value
function iniset {
    "$HARNESS_PYTHON" -S -c '
import configparser, sys
path, section, option, value = sys.argv[1:]
parser = configparser.RawConfigParser(default_section="no section")
parser.optionxform = str
parser.read(path)
parser.has_section(section) or parser.add_section(section)
parser.set(section, option, value)
with open(path, "w") as file:
    parser.write(file)
' "$@"
}

# devstack installs them; here they must be there, or the plugin names one that does not exist
function install_package {
    dpkg-query --show "$@" >/dev/null
}

# devstack installs the tree; here it is installed
function setup_develop {
    [[ -e $1/setup.cfg ]] || die $LINENO "no package in $1"
}

function get_python_exec_prefix {
    dirname "$HARNESS_PYTHON"
}

# -- lib/database, lib/keystone ---------------------------------------------------------------------------------------

function database_connection_url {
    echo "mysql+pymysql://root@/$1?unix_socket=$DATABASE_SOCKET&charset=utf8"
}

function recreate_database {
    mariadb --socket="$DATABASE_SOCKET" -e "DROP DATABASE IF EXISTS $1; CREATE DATABASE $1 CHARACTER SET utf8"
}

function identity {
    "$HARNESS_PYTHON" -m tests.functional.install.identity "$@"
}

# create_service_user name [role]
function create_service_user {
    identity user "$1" "$SERVICE_PASSWORD" "$SERVICE_PROJECT_NAME" "${2:-service}"
}

# get_or_create_service name type description
function get_or_create_service {
    identity service "$1" "$2" "$3"
}

# get_or_create_endpoint service-type region public [admin] [internal]
function get_or_create_endpoint {
    identity endpoint "$1" "$2" "public=$3" ${4:+"admin=$4"} ${5:+"internal=$5"}
}

# configure_keystone_authtoken_middleware file user [section]
function configure_keystone_authtoken_middleware {
    local file=$1 user=$2 section=${3:-keystone_authtoken}
    iniset "$file" "$section" auth_type password
    iniset "$file" "$section" interface public
    iniset "$file" "$section" auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$file" "$section" username "$user"
    iniset "$file" "$section" password "$SERVICE_PASSWORD"
    iniset "$file" "$section" user_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$file" "$section" project_name "$SERVICE_PROJECT_NAME"
    iniset "$file" "$section" project_domain_name "$SERVICE_DOMAIN_NAME"
}

# -- what stack.sh, unstack.sh and clean.sh do with a plugin -----------------------------------------------------------

ENABLED_SERVICES=
DISABLED_SERVICES=
# shellcheck disable=SC1090 # given
source "$1"
cd "$HAQN_DIR"
# shellcheck source=/dev/null
source "$HAQN_DIR/devstack/override-defaults"
# shellcheck source=/dev/null
source "$HAQN_DIR/devstack/settings"
# shellcheck source=/dev/null
source "$HAQN_DIR/devstack/plugin.sh" "$2" "${3:-}"
