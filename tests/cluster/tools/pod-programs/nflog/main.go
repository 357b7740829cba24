// Command nflog prints the packets that iptables' NFLOG target hands to a group, as the kernel's own log shows those
// of the LOG target: `nflog 77`. The kernel's log is one for the whole machine, and is silent about packets of network
// namespaces other than the first; a group of NFLOG belongs to its network namespace.
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// From linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_log.h.
const (
	protocolNetfilter = 12     // NETLINK_NETFILTER
	subsystemLog      = 4 << 8 // NFNL_SUBSYS_ULOG, upper byte of a message's type
	messagePacket     = subsystemLog
	messageConfig     = subsystemLog | 1

	configCommand = 1 // NFULA_CFG_CMD
	configMode    = 2 // NFULA_CFG_MODE
	configQueue   = 5 // NFULA_CFG_QTHRESH
	commandBind   = 1 // NFULNL_CFG_CMD_BIND
	copyPacket    = 2 // NFULNL_COPY_PACKET

	attributeIn      = 4  // NFULA_IFINDEX_INDEV
	attributeOut     = 5  // NFULA_IFINDEX_OUTDEV
	attributePayload = 9  // NFULA_PAYLOAD
	attributePrefix  = 10 // NFULA_PREFIX

	headerSize = syscall.NLMSG_HDRLEN + 4 // and nfgenmsg
	headers    = 128                      // bytes of a packet that are wanted: its headers
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: nflog GROUP")
	}
	group, err := strconv.ParseUint(os.Args[1], 10, 16)
	if err != nil {
		log.Fatal(err)
	}
	socket, err := bind(uint16(group))
	if err != nil {
		log.Fatalf("group %d: %v", group, err)
	}
	buffer := make([]byte, 1<<17)
	for {
		size, _, err := syscall.Recvfrom(socket, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.ENOBUFS {
			fmt.Println("nflog: packets came quicker than they could be printed; some are missing")
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:size])
		if err != nil {
			log.Fatal(err)
		}
		for _, message := range messages {
			if message.Header.Type == messagePacket && len(message.Data) >= 4 {
				fmt.Println(line(attributes(message.Data[4:])))
			}
		}
	}
}

// bind opens a socket to which the kernel sends the packets of a group.
func bind(group uint16) (int, error) {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocolNetfilter)
	if err != nil {
		return 0, err
	}
	if err := syscall.Bind(socket, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, err
	}
	mode := binary.BigEndian.AppendUint32(nil, headers)
	for _, attribute := range [][]byte{
		encode(configCommand, []byte{commandBind}),
		encode(configMode, append(mode, copyPacket, 0)),
		encode(configQueue, []byte{0, 0, 0, 1}), // a message a packet; by default the kernel waits up to a second for more
	} {
		if err := request(socket, group, attribute); err != nil {
			return 0, err
		}
	}
	return socket, nil
}

// request sends one configuration message and waits for the kernel's word on it.
func request(socket int, group uint16, attribute []byte) error {
	message := binary.NativeEndian.AppendUint32(nil, uint32(headerSize+len(attribute)))
	message = binary.NativeEndian.AppendUint16(message, messageConfig)
	message = binary.NativeEndian.AppendUint16(message, syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	message = append(message, make([]byte, 8)...)   // sequence, sender
	message = append(message, syscall.AF_UNSPEC, 0) // nfgenmsg: family, version
	message = append(binary.BigEndian.AppendUint16(message, group), attribute...)
	if err := syscall.Sendto(socket, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 1<<16)
	for {
		size, _, err := syscall.Recvfrom(socket, buffer, 0)
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:size])
		if err != nil {
			return err
		}
		for _, message := range messages {
			if message.Header.Type != syscall.NLMSG_ERROR || len(message.Data) < 4 {
				continue // a packet that came first
			}
			if code := int32(binary.NativeEndian.Uint32(message.Data)); code != 0 {
				return syscall.Errno(-code)
			}
			return nil
		}
	}
}

// encode makes a netlink attribute, padded to four bytes.
func encode(kind uint16, value []byte) []byte {
	attribute := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	attribute = append(binary.NativeEndian.AppendUint16(attribute, kind), value...)
	return append(attribute, make([]byte, (4-len(attribute)%4)%4)...)
}

// attributes splits a message's attributes, by kind.
func attributes(data []byte) map[uint16][]byte {
	found := map[uint16][]byte{}
	for len(data) >= 4 {
		size := int(binary.NativeEndian.Uint16(data))
		if size < 4 || size > len(data) {
			break
		}
		found[binary.NativeEndian.Uint16(data[2:])&0x3fff] = data[4:size]
		data = data[min((size+3)&^3, len(data)):]
	}
	return found
}

// line shows a packet as the LOG target does: `PREFIX IN=… OUT=… SRC=… DST=… LEN=… … PROTO=TCP SPT=… DPT=… …`.
func line(packet map[uint16][]byte) string {
	prefix := strings.TrimRight(string(packet[attributePrefix]), "\x00")
	return fmt.Sprintf("%sIN=%s OUT=%s %s", prefix, device(packet[attributeIn]), device(packet[attributeOut]), ipv4(packet[attributePayload]))
}

func device(index []byte) string {
	if len(index) != 4 {
		return ""
	}
	number := int(binary.BigEndian.Uint32(index))
	found, err := net.InterfaceByIndex(number)
	if err != nil {
		return fmt.Sprintf("if%d", number) // gone meanwhile
	}
	return found.Name
}

func ipv4(packet []byte) string {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return "not IPv4"
	}
	said := fmt.Sprintf("SRC=%s DST=%s LEN=%d TOS=0x%02X PREC=0x%02X TTL=%d ID=%d", net.IP(packet[12:16]), net.IP(packet[16:20]),
		binary.BigEndian.Uint16(packet[2:]), packet[1]&0x1e, packet[1]&0xe0, packet[8], binary.BigEndian.Uint16(packet[4:]))
	fragment := binary.BigEndian.Uint16(packet[6:])
	if fragment&0x4000 != 0 {
		said += " DF"
	}
	body := packet[min(int(packet[0]&0xf)*4, len(packet)):]
	if fragment&0x1fff != 0 {
		body = nil // a later fragment has no ports
	}
	return said + " " + transport(packet[9], body)
}

func transport(protocol byte, body []byte) string {
	switch {
	case protocol == syscall.IPPROTO_TCP && len(body) >= 20:
		return fmt.Sprintf("PROTO=TCP %s WINDOW=%d RES=0x00%s URGP=%d", ports(body), binary.BigEndian.Uint16(body[14:]), flags(body[13]), binary.BigEndian.Uint16(body[18:]))
	case protocol == syscall.IPPROTO_TCP:
		return "PROTO=TCP"
	case protocol == syscall.IPPROTO_UDP && len(body) >= 8:
		return fmt.Sprintf("PROTO=UDP %s LEN=%d", ports(body), binary.BigEndian.Uint16(body[4:]))
	case protocol == syscall.IPPROTO_UDP:
		return "PROTO=UDP"
	case protocol == syscall.IPPROTO_ICMP && len(body) >= 2:
		return fmt.Sprintf("PROTO=ICMP TYPE=%d CODE=%d", body[0], body[1])
	default:
		return fmt.Sprintf("PROTO=%d", protocol)
	}
}

func ports(body []byte) string {
	return fmt.Sprintf("SPT=%d DPT=%d", binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]))
}

func flags(bits byte) string {
	said := ""
	for _, flag := range []struct {
		bit  byte
		name string
	}{{0x80, "CWR"}, {0x40, "ECE"}, {0x20, "URG"}, {0x10, "ACK"}, {0x08, "PSH"}, {0x04, "RST"}, {0x02, "SYN"}, {0x01, "FIN"}} {
		if bits&flag.bit != 0 {
			said += " " + flag.name
		}
	}
	return said
}
