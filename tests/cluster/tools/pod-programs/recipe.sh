# The programs inside the test pods: a server to be probed, and the program that holds a pod's namespaces.
go_build serve .
gcc -O2 -static -o "$output/pause" pause.c
strip "$output/pause"
