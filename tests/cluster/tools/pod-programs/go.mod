module netpol-verify.test/tools/pod-programs

go 1.26.0
