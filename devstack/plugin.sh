# shellcheck shell=bash
# devstack plugin of haqn: an HA network service in the place of Neutron.
#
#   [[local|localrc]]
#   enable_plugin haqn <URL of the repository>
#   enable_service etcd3
#
# Services: haqn-api, haqn-mon, haqn-l3. Every phase may be repeated. Settings are in `settings`.

# devstack's own variables, and those that `settings` makes of them
: "${DEST:?}" "${HAQN_DIR:?}" "${HAQN_CONF:?}" "${HAQN_CONF_DIR:?}" "${HAQN_STATE_PATH:?}" "${HAQN_RUN_PATH:?}"

function haqn_is_enabled {
    is_service_enabled haqn-api || is_service_enabled haqn-mon || is_service_enabled haqn-l3
}

function haqn_install_packages {
    local packages
    # one name a line; those with a mark are for haqn's own tests
    packages=$(sed -e 's/#.*//' -e '/\[/d' -e '/^etcd/d' "$HAQN_DIR/bindep.txt")
    # shellcheck disable=SC2086 # one word a package
    install_package $packages
}

function haqn_install {
    setup_develop "$HAQN_DIR"
}

function haqn_configure {
    sudo install -d -o "$STACK_USER" -m 0750 "$HAQN_CONF_DIR" "$HAQN_STATE_PATH"
    sudo install -d -m 0700 "$HAQN_RUN_PATH"
    # written anew each time, so that a setting that was taken away is gone
    rm -f "$HAQN_CONF"
    install -m 0640 /dev/null "$HAQN_CONF"

    iniset "$HAQN_CONF" DEFAULT host "$(hostname)"
    iniset "$HAQN_CONF" DEFAULT state_path "$HAQN_STATE_PATH"
    iniset "$HAQN_CONF" DEFAULT run_path "$HAQN_RUN_PATH"
    iniset "$HAQN_CONF" etcd endpoints "$HAQN_ETCD_ENDPOINTS"
    iniset "$HAQN_CONF" etcd lease_ttl "$HAQN_LEASE_TTL"
    if is_service_enabled haqn-api || is_service_enabled haqn-mon; then
        iniset "$HAQN_CONF" database connection "$(haqn_database_url)"
    fi
    if is_service_enabled haqn-api; then
        iniset "$HAQN_CONF" api bind_host "$HAQN_LISTEN_ADDRESS"
        iniset "$HAQN_CONF" api bind_port "$HAQN_SERVICE_PORT"
        iniset "$HAQN_CONF" api auth_strategy keystone
        configure_keystone_authtoken_middleware "$HAQN_CONF" haqn
    fi
    if is_service_enabled haqn-l3; then
        iniset "$HAQN_CONF" agent roles "$HAQN_AGENT_ROLES"
        iniset "$HAQN_CONF" agent ha_address "$HAQN_HA_ADDRESS"
        iniset "$HAQN_CONF" agent supervisor "$HAQN_SUPERVISOR"
        if [[ -n "$HAQN_PHYSICAL_NETWORKS" ]]; then
            iniset "$HAQN_CONF" agent physical_networks "$HAQN_PHYSICAL_NETWORKS"
        fi
        if [[ "$HAQN_SUPERVISOR" == systemd ]]; then
            sudo install -m 0644 "$HAQN_DIR"/deploy/systemd/haqn-{keepalived,failover,advertiser}.service /etc/systemd/system/
            sudo systemctl daemon-reload
        fi
    fi
    "$HAQN_BIN_DIR/haqn-manage" --config-file "$HAQN_CONF" config check
}

# devstack's URL, with a driver that haqn has: mysql+pymysql is in place, PostgreSQL's is psycopg 3
function haqn_database_url {
    database_connection_url haqn | sed -e 's#^postgresql://#postgresql+psycopg://#'
}

function haqn_register {
    create_service_user haqn admin
    get_or_create_service haqn network "HA network service"
    local url="$HAQN_SERVICE_PROTOCOL://$HAQN_SERVICE_HOST:$HAQN_SERVICE_PORT/"
    get_or_create_endpoint network "$REGION_NAME" "$url" "$url" "$url"
}

function haqn_init {
    # as each of devstack's services: stack.sh begins with an empty database
    recreate_database haqn
    "$HAQN_BIN_DIR/haqn-manage" --config-file "$HAQN_CONF" db upgrade
}

function haqn_start {
    if is_service_enabled haqn-api; then
        run_process haqn-api "$HAQN_BIN_DIR/haqn-api --config-file $HAQN_CONF"
        if ! wait_for_service "${SERVICE_TIMEOUT:-60}" "$HAQN_SERVICE_PROTOCOL://$HAQN_SERVICE_HOST:$HAQN_SERVICE_PORT/"; then
            die $LINENO "haqn-api did not start"
        fi
    fi
    if is_service_enabled haqn-mon; then
        run_process haqn-mon "$HAQN_BIN_DIR/haqn-monitor --config-file $HAQN_CONF"
    fi
    if is_service_enabled haqn-l3; then
        # it configures the kernel
        run_process haqn-l3 "$HAQN_BIN_DIR/haqn-agent --config-file $HAQN_CONF" "" root
    fi
}

function haqn_stop {
    local name
    for name in haqn-l3 haqn-mon haqn-api; do
        stop_process "$name"
    done
    haqn_stop_forwarding
}

# keepalived and the failover program outlive the agent by design, so they are ended by themselves
function haqn_stop_forwarding {
    local file pid
    if [[ "$HAQN_SUPERVISOR" == systemd ]]; then
        sudo systemctl stop haqn-keepalived.service haqn-failover.service haqn-advertiser.service || true
    fi
    for file in keepalived.pid pairs/consumer.pid advertiser/advertiser.pid; do
        pid=$(sudo awk 'NR == 1 { print $1 }' "$HAQN_RUN_PATH/$file" 2>/dev/null) || continue
        # the number may be another program's by now
        if [[ -n "$pid" ]] && sudo grep -q -a "$HAQN_RUN_PATH" "/proc/$pid/cmdline" 2>/dev/null; then
            sudo kill "$pid" || true
            timeout 10 tail --pid="$pid" -f /dev/null || true
        fi
    done
}

# routers, bridges, tunnels and tables, as the agent names them
function haqn_remove_networks {
    local name
    for name in $(sudo ip netns list | awk '/^qrouter-/ { print $1 }'); do
        sudo ip netns delete "$name"
    done
    for name in $(ip -o link show | awk -F '[:@ ]+' '$2 ~ /^(brq|vxlan-|tap)[0-9a-f-]+$/ { print $2 }'); do
        sudo ip link delete "$name" 2>/dev/null || true
    done
    sudo nft list tables | while read -r _ family name; do
        # the gate, and what lets VRRP in
        if [[ "$name" == haqn* ]]; then
            sudo nft delete table "$family" "$name"
        fi
    done
}

function haqn_clean {
    haqn_stop
    haqn_remove_networks
    sudo rm -rf "$HAQN_RUN_PATH" "$HAQN_STATE_PATH" "$HAQN_CONF_DIR"
    sudo rm -f /etc/systemd/system/haqn-{keepalived,failover,advertiser}.service
}

if haqn_is_enabled; then
    case "${1:-} ${2:-}" in
        "stack pre-install")
            haqn_install_packages
            ;;
        "stack install")
            haqn_install
            ;;
        "stack post-config")
            haqn_configure
            if is_service_enabled haqn-api; then
                haqn_register
                haqn_init
            fi
            ;;
        "stack extra")
            haqn_start
            ;;
        "unstack "*)
            haqn_stop
            haqn_remove_networks
            ;;
        "clean "*)
            haqn_clean
            ;;
    esac
fi
