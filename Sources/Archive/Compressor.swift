import CISAL
import CZlib
import CZstd

/// Compresses a stream piece by piece; the same pieces give the same bytes.
///
/// gzip output also depends on how the stream is cut (ISA-L), so `compress` cuts what it gets into pieces of
/// `pieceSize`. Every call but the last must carry a multiple of that.
public struct Compressor: ~Copyable {
    /// 64 KiB: with ISA-L both faster and smaller than larger pieces.
    public static let pieceSize = 64 << 10

    // Not private, because the optimizer of Swift 6.3 then drops the type's metadata, which other modules need.
    enum Encoder: ~Copyable {
        case gzip(GzipEncoder)
        case smallGzip(SmallGzipEncoder)
        case zstd(ZstdEncoder)
    }

    private var encoder: Encoder?

    /// - Parameter level: matters to gzip only.
    public init(_ format: CompressionFormat, level: CompressionLevel = .fast) throws(ArchiveError) {
        switch (format, level) {
        case (.none, _): encoder = nil
        case (.gzip, .fast): encoder = .gzip(GzipEncoder())
        case (.gzip, .small): encoder = .smallGzip(try SmallGzipEncoder())
        case (.zstd, _): encoder = .zstd(try ZstdEncoder())
        }
    }

    /// Compresses the next bytes of the stream.
    ///
    /// - Parameters:
    ///   - bytes: a multiple of `pieceSize`, unless they are the last ones.
    ///   - isLast: whether the stream ends with them. Nothing may follow.
    /// - Returns: the compressed bytes that are ready; often none.
    /// - Throws: `ArchiveError` if a piece before the last has another length, or the library fails.
    public mutating func compress(
        _ bytes: UnsafeRawBufferPointer, isLast: Bool
    ) throws(ArchiveError) -> [UInt8] {
        guard isLast || bytes.count.isMultiple(of: Self.pieceSize) else {
            throw .invalid("a piece of \(bytes.count) bytes before the stream's end")
        }
        var output: [UInt8] = []
        var rest = bytes
        repeat {
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.pieceSize))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(Self.pieceSize))
            let ends = isLast && rest.isEmpty
            switch encoder {
            case .gzip(let gzip): try gzip.compress(piece, isLast: ends, into: &output)
            case .smallGzip(let gzip): try gzip.compress(piece, isLast: ends, into: &output)
            case .zstd(let zstd): try zstd.compress(piece, isLast: ends, into: &output)
            case nil: output.append(contentsOf: piece)
            }
        } while !rest.isEmpty
        return output
    }
}

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
        stream.initialize(to: isal_zstream())
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
            // Every call offers the same room for output, because ISA-L's output depends on that, too.
            stream.pointee.next_out = scratch.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(scratch.count)
            guard isal_deflate(stream) == COMP_OK else { throw .invalid("gzip compression failed") }
            output.append(contentsOf: scratch.prefix(scratch.count - Int(stream.pointee.avail_out)))
        } while stream.pointee.avail_in > 0 || stream.pointee.avail_out == 0
            || (isLast && stream.pointee.internal_state.state != ZSTATE_END)
    }
}

/// What gzip is made for.
public enum CompressionLevel: String, Sendable, Hashable, CaseIterable {
    /// ISA-L at level 1.
    case fast
    /// zlib at level 6: fewer bytes for several times the processor time.
    case small
}

/// Compresses to gzip by zlib at level 6, with a header that says nothing (no time, no name).
///
/// The output depends neither on the pieces it is fed nor on the processor. Another version of zlib, or another build of
/// it, may give other, equally valid bytes.
struct SmallGzipEncoder: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>
    private let scratch: UnsafeMutableRawBufferPointer

    init() throws(ArchiveError) {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard czlib_gzip_init(stream, 6) == Z_OK else {
            stream.deallocate()
            throw .noMemory
        }
        self.stream = stream
        scratch = .allocate(byteCount: 96 << 10, alignment: 64)
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
        scratch.deallocate()
    }

    func compress(_ piece: UnsafeRawBufferPointer, isLast: Bool, into output: inout [UInt8]) throws(ArchiveError) {
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: piece.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(piece.count)
        var result = Z_OK
        repeat {
            stream.pointee.next_out = scratch.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(scratch.count)
            result = deflate(stream, isLast ? Z_FINISH : Z_NO_FLUSH)
            // Z_BUF_ERROR: all input is taken, and nothing is ready.
            guard result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR else {
                throw .invalid("gzip compression failed")
            }
            output.append(contentsOf: scratch.prefix(scratch.count - Int(stream.pointee.avail_out)))
        } while stream.pointee.avail_in > 0 || stream.pointee.avail_out == 0 || (isLast && result != Z_STREAM_END)
    }
}

/// Compresses to zstd with pinned parameters, in one thread. Another version of libzstd may give other bytes.
struct ZstdEncoder: ~Copyable {
    private let context: OpaquePointer
    private let scratch: UnsafeMutableRawBufferPointer

    init() throws(ArchiveError) {
        guard let context = ZSTD_createCCtx() else { throw .noMemory }
        // Level 3's parameters for streams of unknown length, written out so that a library can't change them.
        let parameters: [(ZSTD_cParameter, Int32)] = [
            (ZSTD_c_compressionLevel, 3), (ZSTD_c_windowLog, 21), (ZSTD_c_chainLog, 16), (ZSTD_c_hashLog, 17),
            (ZSTD_c_searchLog, 1), (ZSTD_c_minMatch, 5), (ZSTD_c_targetLength, 0),
            (ZSTD_c_strategy, Int32(ZSTD_dfast.rawValue)), (ZSTD_c_contentSizeFlag, 0), (ZSTD_c_checksumFlag, 1),
            (ZSTD_c_dictIDFlag, 0), (ZSTD_c_nbWorkers, 0),
        ]
        for (parameter, value) in parameters where ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)) != 0
        {
            ZSTD_freeCCtx(context)
            throw .invalid("zstd does not know a parameter")
        }
        self.context = context
        scratch = .allocate(byteCount: 128 << 10, alignment: 64)
    }

    deinit {
        ZSTD_freeCCtx(context)
        scratch.deallocate()
    }

    func compress(_ piece: UnsafeRawBufferPointer, isLast: Bool, into output: inout [UInt8]) throws(ArchiveError) {
        var source = ZSTD_inBuffer(src: piece.baseAddress, size: piece.count, pos: 0)
        var remaining = 0
        repeat {
            var target = ZSTD_outBuffer(dst: scratch.baseAddress, size: scratch.count, pos: 0)
            remaining = ZSTD_compressStream2(context, &target, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
            guard ZSTD_isError(remaining) == 0 else { throw .invalid("zstd compression failed") }
            output.append(contentsOf: scratch.prefix(target.pos))
        } while source.pos < source.size || (isLast && remaining > 0)
    }
}
