import CISAL

/// Compresses to gzip by ISA-L at level 1, with a header that says nothing (no time, no name).
///
/// The output depends on the pieces it is fed, and is the same on every x86-64 processor with SSE 4.2 (x86-64-v2);
/// on older ones ISA-L takes another hash and gives other, equally valid bytes.
struct GzipEncoder: ~Copyable {
    private let stream: UnsafeMutablePointer<isal_zstream>
    private let levelBuffer: UnsafeMutableRawBufferPointer
    private let scratch: UnsafeMutableRawBufferPointer

    init() {
        levelBuffer = .allocate(byteCount: Int(cisal_level1_buffer_size()), alignment: 64)
        levelBuffer.initializeMemory(as: UInt8.self, repeating: 0)
        scratch = .allocate(byteCount: 96 << 10, alignment: 64)
        stream = .allocate(capacity: 1)
        isal_deflate_init(stream)
        stream.pointee.level = 1
        stream.pointee.level_buf = levelBuffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.level_buf_size = UInt32(levelBuffer.count)
        stream.pointee.gzip_flag = UInt16(IGZIP_GZIP)
        stream.pointee.flush = UInt16(NO_FLUSH)
    }

    deinit {
        stream.deallocate()
        levelBuffer.deallocate()
        scratch.deallocate()
    }

    func compress(_ piece: UnsafeRawBufferPointer, isLast: Bool, into output: inout [UInt8]) throws(ArchiveError) {
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: piece.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(piece.count)
        stream.pointee.end_of_stream = isLast ? 1 : 0
        repeat {
            // The same room at every call, since ISA-L also looks at that.
            stream.pointee.next_out = scratch.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(scratch.count)
            guard isal_deflate(stream) == COMP_OK else { throw .invalid("gzip compression failed") }
            output.append(contentsOf: scratch.prefix(scratch.count - Int(stream.pointee.avail_out)))
        } while stream.pointee.avail_in > 0 || stream.pointee.avail_out == 0
            || (isLast && stream.pointee.internal_state.state != ZSTATE_END)
    }
}
