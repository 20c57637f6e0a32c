import Archive

/// A tar made block by block, so that it can be wrong in any way.
struct HandMadeTar {
    private(set) var bytes: [UInt8] = []

    struct Header {
        var name: [UInt8]
        var mode = "0000644"
        var userID = Array("0003720".utf8)
        var size = ""
        var mtime = "14541300000"
        var type: Character = "0"
        var link: [UInt8] = []
        var magic = "ustar\u{0}00"
        var prefix: [UInt8] = []
        var spoilsChecksum = false

        init(_ name: String, type: Character = "0", link: String = "") {
            self.name = Array(name.utf8)
            self.type = type
            self.link = Array(link.utf8)
        }
    }

    mutating func add(_ header: Header, content: [UInt8] = [], rawSize: [UInt8]? = nil) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: some Collection<UInt8>, _ offset: Int) {
            for (index, byte) in text.enumerated() { block[offset + index] = byte }
        }
        put(header.name.prefix(100), 0)
        put(header.mode.utf8, 100)
        put(header.userID, 108)
        put("0003720".utf8, 116)
        let octal = String(content.count, radix: 8)
        let size = String(repeating: "0", count: 11 - octal.count) + octal
        put(rawSize ?? Array((header.size.isEmpty ? size : header.size).utf8), 124)
        put(header.mtime.utf8, 136)
        put(String(header.type).utf8, 156)
        put(header.link.prefix(100), 157)
        put(header.magic.utf8, 257)
        put(header.prefix.prefix(155), 345)
        seal(&block)
        if header.spoilsChecksum { block[0] ^= 1 }
        add(block: block)
        add(content: content)
    }

    /// Writes the checksum into a block.
    func seal(_ block: inout [UInt8]) {
        for index in 148..<156 { block[index] = 32 }
        let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
        for (index, byte) in (String(repeating: "0", count: 6 - sum.count) + sum).utf8.enumerated() {
            block[148 + index] = byte
        }
        block[154] = 0
    }

    mutating func add(block: [UInt8]) { bytes += block }

    mutating func add(content: [UInt8]) {
        bytes += content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    mutating func file(_ name: String, _ content: String = "") { add(Header(name), content: Array(content.utf8)) }
    mutating func directory(_ name: String, mode: String = "0000755") {
        var header = Header(name, type: "5")
        header.mode = mode
        add(header)
    }
    mutating func link(_ name: String, to target: String) { add(Header(name, type: "2", link: target)) }
    mutating func hardLink(_ name: String, to target: String) { add(Header(name, type: "1", link: target)) }

    /// A PAX header of `key=value` records.
    mutating func pax(_ records: [(String, String)], type: Character = "x") {
        var body: [UInt8] = []
        for (key, value) in records {
            let rest = key.utf8.count + value.utf8.count + 3
            var length = rest + 1
            while length != rest + String(length).count { length = rest + String(length).count }
            body += Array("\(length) \(key)=\(value)\n".utf8)
        }
        add(Header("pax", type: type), content: body)
    }

    mutating func end() { bytes += [UInt8](repeating: 0, count: 1024) }

    /// A whole archive.
    static func make(_ fill: (inout HandMadeTar) -> Void) -> [UInt8] {
        var tar = HandMadeTar()
        fill(&tar)
        tar.end()
        return tar.bytes
    }
}

/// Compresses all at once.
func compressed(_ bytes: [UInt8], _ format: CompressionFormat) throws -> [UInt8] {
    var compressor = try Compressor(format)
    let result: Result<[UInt8], ArchiveError> = bytes.withUnsafeBytes { bytes in
        do throws(ArchiveError) {
            return .success(try compressor.compress(bytes, isLast: true))
        } catch {
            return .failure(error)
        }
    }
    return try result.get()
}

/// Decompresses all at once.
func decompressed(_ bytes: [UInt8]) throws -> [UInt8] {
    var decompressor = Decompressor()
    var output: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 65_536)
    var position = 0
    while true {
        let result: Result<Decompressor.Step, ArchiveError> = room.withUnsafeMutableBytes { room in
            bytes.withUnsafeBytes { bytes in
                do throws(ArchiveError) {
                    return .success(
                        try decompressor.step(UnsafeRawBufferPointer(rebasing: bytes[position...]), into: room))
                } catch {
                    return .failure(error)
                }
            }
        }
        let step = try result.get()
        output += room[..<step.produced]
        position += step.consumed
        if step.consumed == 0, step.produced == 0 { break }
    }
    try decompressor.finish()
    return output
}
