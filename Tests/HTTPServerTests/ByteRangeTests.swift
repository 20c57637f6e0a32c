import HTTPServer
import Testing

@Suite("Byte ranges")
struct ByteRangeTests {
    @Test(
        "A Range header asks for the whole, for a part, or for what is not there",
        arguments: [
            (nil, 10, .whole),
            ("bytes=0-0", 10, .part(0..<1)),
            ("bytes=2-5", 10, .part(2..<6)),
            ("bytes=2-", 10, .part(2..<10)),
            ("bytes=2-100", 10, .part(2..<10)),
            ("bytes=-3", 10, .part(7..<10)),
            ("bytes=-30", 10, .part(0..<10)),
            ("Bytes= 2-5", 10, .part(2..<6)),
            ("bytes=9-9", 10, .part(9..<10)),
            ("bytes=10-", 10, .unsatisfiable),
            ("bytes=10-20", 10, .unsatisfiable),
            ("bytes=-0", 10, .unsatisfiable),
            ("bytes=0-", 0, .unsatisfiable),
            ("bytes=-5", 0, .unsatisfiable),
            ("bytes=99999999999999999999-", 10, .unsatisfiable),
            ("bytes=0-99999999999999999999", 10, .part(0..<10)),
            ("bytes=5-2", 10, .whole),
            ("bytes=0-1,3-4", 10, .parts([0..<2, 3..<5])),
            ("bytes=3-4,0-1,-1", 10, .parts([3..<5, 0..<2, 9..<10])),
            ("bytes= 0-1 ,\t3-4, ,", 10, .parts([0..<2, 3..<5])),
            ("bytes=0-5,3-6", 10, .parts([0..<6, 3..<7])),
            ("bytes=0-5,3-7", 10, .whole),
            ("bytes=0-,0-", 10, .whole),
            ("bytes=0-1,10-,-0", 10, .part(0..<2)),
            ("bytes=10-,20-30", 10, .unsatisfiable),
            ("bytes=0-1,x", 10, .whole),
            ("bytes=0-1,5-2", 10, .whole),
            ("bytes=0-1;3-4", 10, .whole),
            ("bytes=0-9223372036854775807,0-9223372036854775807", .max, .whole),
            ("bytes=,", 10, .whole),
            ("bytes=", 10, .whole),
            ("bytes=-", 10, .whole),
            ("bytes=a-b", 10, .whole),
            ("bytes=+1-2", 10, .whole),
            ("bytes=1", 10, .whole),
            ("items=0-1", 10, .whole),
            ("", 10, .whole),
        ] as [(String?, Int64, ByteRange)])
    func parsing(header: String?, length: Int64, expected: ByteRange) {
        #expect(ByteRange(header, length: length) == expected)
    }

    @Test("Two hundred ranges are answered, and for more than that the whole")
    func bound() {
        func range(_ count: Int) -> ByteRange {
            ByteRange("bytes=" + (0..<count).map { "\(2 * $0)-\(2 * $0)" }.joined(separator: ","), length: 1000)
        }
        let ranges: [Range<Int64>] = (0..<200).map { (number: Int64) in 2 * number..<2 * number + 1 }
        #expect(range(200) == .parts(ranges))
        #expect(range(201) == .whole)
    }
}
