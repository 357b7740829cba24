# The programs inside the test pods: a server to be probed, the program that holds a pod's namespaces, and the one that
# prints what Felix drops.
go_build serve .
go_build nflog ./nflog
gcc -O2 -static -o "$output/pause" pause.c
strip "$output/pause"
