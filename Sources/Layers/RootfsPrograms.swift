internal import Archive

/// The programs of a root filesystem, by name: what their heads say. One that is wanted may be reached by a link that
/// comes later, so all of them are kept, at some 100 bytes each.
struct RootfsPrograms {
    private static let maximumBytes = 32 << 20

    private(set) var programs: [[UInt8]: ELFProgram] = [:]
    private var bytes = 0
    private var open: [UInt8]?
    private var head: [UInt8] = []

    mutating func entry(_ entry: TarEntry, name: [UInt8]) throws(ConversionError) {
        open = nil
        switch entry.kind {
        case .file where entry.mode & 0o111 != 0 && entry.size > 0:
            open = name
            head.removeAll(keepingCapacity: true)
        case .hardLink:
            if let program = programs[entry.linkName] { try keep(program, name) }
        default: break
        }
    }

    mutating func content(_ content: UnsafeBufferPointer<UInt8>) {
        guard open != nil, head.count < ELFProgram.headLength else { return }
        head.append(contentsOf: content.prefix(ELFProgram.headLength - head.count))
        // Most of what can be executed in a rootfs is scripts.
        if head.count >= ELFProgram.magic.count, !head.starts(with: ELFProgram.magic) { open = nil }
    }

    mutating func hole(_ length: Int64) {
        guard open != nil, head.count < ELFProgram.headLength else { return }
        head += [UInt8](repeating: 0, count: Int(min(length, Int64(ELFProgram.headLength - head.count))))
    }

    mutating func endContent() throws(ConversionError) {
        guard let name = open else { return }
        open = nil
        if let program = ELFProgram(head: head) { try keep(program, name) }
    }

    private mutating func keep(_ program: ELFProgram, _ name: [UInt8]) throws(ConversionError) {
        bytes += name.count + 128
        guard bytes <= Self.maximumBytes else { throw ConversionError(.tooLarge, "too many programs", entry: name) }
        programs[name] = program
    }
}
