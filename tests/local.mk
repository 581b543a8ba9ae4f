# Every area owns one file here, so that adding a test touches one place.
include %D%/base.mk
include %D%/core.mk
include %D%/wire.mk
include %D%/net.mk
include %D%/ice.mk
include %D%/app.mk
include %D%/hub.mk
include %D%/wg.mk
include %D%/lab.mk
include %D%/fuzz.mk
