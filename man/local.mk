EXTRA_DIST += %D%/README.md
dist_man_MANS += %D%/netbird-helper.8
dist_man_MANS += %D%/netbird-hub.8
dist_man_MANS += %D%/netbird-wg.8 %D%/netbird-peers.json.5 %D%/netbird-device.json.5
dist_man_MANS += %D%/netbird-ice.8
dist_man_MANS += %D%/netbird-config.json.5
