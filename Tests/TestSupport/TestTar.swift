/// A ustar archive made from a few entries.
package struct TestTar {
    package enum Entry: Sendable {
        case directory(String)
        case file(String, String)
        case bytes(String, [UInt8])
        case symbolicLink(String, to: String)
        case hardLink(String, to: String)
        case fifo(String)
        /// A file of any bytes that may be executed.
        case program(String, [UInt8], mode: Int = 0o755)
    }

    package private(set) var bytes: [UInt8] = []

    package init(_ entries: [Entry]) {
        for entry in entries {
            switch entry {
            case .directory(let name): add(name + "/", type: "5", mode: 0o755)
            case .file(let name, let content): add(name, type: "0", Array(content.utf8))
            case .bytes(let name, let content): add(name, type: "0", content)
            case .symbolicLink(let name, let target): add(name, type: "2", link: target)
            case .hardLink(let name, let target): add(name, type: "1", link: target)
            case .fifo(let name): add(name, type: "6")
            case .program(let name, let bytes, let mode): add(name, type: "0", bytes, mode: mode)
            }
        }
        bytes += [UInt8](repeating: 0, count: 1024)
    }

    /// A droplet of an app with this content.
    package static func droplet(_ content: String) -> TestTar {
        TestTar([.directory("./app"), .file("./app/index.html", content), .file("./staging_info.yml", "{}")])
    }

    private mutating func add(
        _ name: String, type: String, _ content: [UInt8] = [], mode: Int = 0o644, link: String = ""
    ) {
        bytes += Self.entry(name, type: type, content, mode: mode, link: link)
    }

    /// A header and its content.
    package static func entry(
        _ name: String, type: String, _ content: [UInt8] = [], mode: Int = 0o644, link: String = ""
    ) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        func octal(_ number: Int, _ width: Int) -> String {
            let text = String(number, radix: 8)
            return String(repeating: "0", count: width - text.utf8.count) + text
        }
        put(name, at: 0)
        put(octal(mode, 7), at: 100)
        put(octal(0, 7), at: 108)
        put(octal(0, 7), at: 116)
        put(octal(content.count, 11), at: 124)
        put(octal(1_700_000_000, 11), at: 136)
        put("        ", at: 148)
        put(type, at: 156)
        put(link, at: 157)
        put("ustar\u{0}00", at: 257)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ", at: 148)
        return header + content + [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }
}
