// Command serve is what the tests probe: `serve 8080/tcp 53/udp` listens on the given ports, answers every TCP
// connection with one line and every UDP datagram with an echo. Without ports it only waits, as a pod without a
// listener does. SIGTERM ends it at once.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	for _, argument := range os.Args[1:] {
		if err := listen(argument); err != nil {
			log.Fatalf("%s: %v", argument, err)
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}

// listen starts a server on argument, which is PORT/tcp or PORT/udp, on all addresses.
func listen(argument string) error {
	port, protocol, _ := strings.Cut(argument, "/")
	switch protocol {
	case "tcp":
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go serveTCP(listener)
	case "udp":
		connection, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			return err
		}
		go serveUDP(connection)
	default:
		return fmt.Errorf("want PORT/tcp or PORT/udp")
	}
	return nil
}

func serveTCP(listener net.Listener) {
	host, _ := os.Hostname()
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer connection.Close()
			_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(connection, "%s %s\n", host, connection.LocalAddr())
			// Reading until the client closes: closing first with unread data would reset the connection.
			_, _ = connection.Read(make([]byte, 1024))
		}()
	}
}

func serveUDP(connection net.PacketConn) {
	buffer := make([]byte, 65536)
	for {
		size, peer, err := connection.ReadFrom(buffer)
		if err != nil {
			log.Print(err)
			continue
		}
		_, _ = connection.WriteTo(buffer[:size], peer)
	}
}
