# The lab and its cases: run by scripts/check (they need root), not by make check.
EXTRA_DIST += %D%/lib/lab.py %D%/lib/programs.py %D%/lib/pinger.py %D%/lib/delaywire.py %D%/lib/h2raw.py \
	%D%/netns/run %D%/netns/direct.py %D%/netns/badserver.py \
	%D%/netns/case-bad-servers.py %D%/netns/case-end-to-end.py %D%/netns/case-dns-dead.py %D%/netns/case-facts.py %D%/netns/case-reload.py %D%/netns/case-firewall.py \
	%D%/netns/case-ipv4-ipv6.py %D%/netns/case-kill-programs.py %D%/netns/case-life-cycle.py \
	%D%/netns/soak-idle.py %D%/netns/soak-idle-cost.py %D%/lib/idlecost.py %D%/netns/mirror.py %D%/netns/case-lab.py %D%/netns/case-ipv6-only.py %D%/netns/case-hostile-peer.py %D%/netns/case-hostile-clients.py %D%/netns/hostileclient.py %D%/netns/case-hostile-server.py %D%/netns/hostileserver.py %D%/netns/case-lan.py \
	%D%/netns/case-nat-full-cone-symmetric.py %D%/netns/case-nat-port-restricted.py \
	%D%/lib/burst.py %D%/netns/restarts.py %D%/netns/case-restart-idle.py %D%/netns/case-restart-programs.py %D%/netns/case-restart-address.py %D%/netns/case-restart-disk.py %D%/netns/case-restart-dir.py %D%/netns/case-restart-apply.py %D%/netns/case-restart-nat.py \
	%D%/netns/case-restart-servers.py %D%/netns/soak-restart.py \
	%D%/netns/case-same-nat.py %D%/netns/case-setup-keys.py %D%/netns/case-port-in-use.py %D%/netns/case-tls.py %D%/netns/case-nginx.py %D%/netns/case-tls-words.py %D%/netns/tlsserver.py %D%/netns/connectproxy.py %D%/README.md
# A hub, a member and a local user that mean harm.
EXTRA_DIST += %D%/netns/case-hostile-hub.py %D%/netns/case-hostile-stun.py %D%/lib/stunflood.py \
	%D%/netns/case-hostile-files.py
EXTRA_DIST += %D%/lib/procfs.py %D%/netns/case-privileges.py %D%/lib/container.py %D%/netns/case-container.py

# scripts/bench
EXTRA_DIST += %D%/netns/case-bench.py %D%/bench/README.md %D%/bench/crowd.py %D%/bench/ends.py %D%/bench/figures.py \
	%D%/bench/lastbyte.py %D%/bench/pieces.py %D%/bench/starts.py %D%/bench/through.py %D%/bench/usage.py

# scripts/check: "make distcheck" with the unit tests only.
print-unit-tests:
	@for t in $(TESTS); do case $$t in */unit/*) echo $$t ;; esac; done
# And what the cases of tests/netns run besides our programs.
test-programs: $(check_PROGRAMS)
.PHONY: print-unit-tests test-programs
