/// Which parts of a sparse file are stored; everything else reads as zeros.
struct SparseMap {
    struct Part: Hashable {
        var offset: Int64
        var length: Int64
    }

    private(set) var parts: [Part] = []
    let size: Int64

    /// - Parameters:
    ///   - numbers: offset and length by turns, ascending, without overlaps.
    ///   - size: of the whole file.
    ///   - stored: of all parts together.
    init(_ numbers: [Int64], size: Int64, stored: Int64) throws(ArchiveError) {
        guard numbers.count.isMultiple(of: 2) else { throw .invalid("the sparse map is incomplete") }
        var end: Int64 = 0
        var sum: Int64 = 0
        for index in stride(from: 0, to: numbers.count, by: 2) {
            let part = Part(offset: numbers[index], length: numbers[index + 1])
            let (partEnd, overflow) = part.offset.addingReportingOverflow(part.length)
            guard part.offset >= end, part.length >= 0, !overflow, partEnd <= size else {
                throw .invalid("the sparse map's parts overlap, run backwards or past the file's end")
            }
            if part.length > 0 { parts.append(part) }
            end = partEnd
            sum += part.length
        }
        guard sum == stored else { throw .invalid("the sparse map and the stored size disagree") }
        self.size = size
    }
}
