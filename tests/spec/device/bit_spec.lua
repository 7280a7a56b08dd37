-- bit: the operations of the device's module.

require("nodemcu")

describe("bit", function()
  it("combines", function()
    assert.are.equal(7, bit.bor(1, 2, 4))
    assert.are.equal(8, bit.band(12, 10))
    assert.are.equal(6, bit.bxor(12, 10))
    assert.are.equal(-1, bit.bnot(0))
    assert.are.equal(-6, bit.bnot(5))
    assert.are.equal(-1, bit.bor(0x7FFFFFFF, 0x80000000))
    assert.are.equal(255, bit.band(-1, 255))
    assert.are.equal(0, bit.bxor(-1, 0xFFFFFFFF))
  end)

  it("shifts, with zeros or with the sign", function()
    assert.are.equal(0x50, bit.lshift(5, 4))
    assert.are.equal(-2147483648, bit.lshift(1, 31))
    assert.are.equal(0, bit.lshift(1, 32))
    assert.are.equal(5, bit.rshift(0x50, 4))
    assert.are.equal(1, bit.rshift(-1, 31))
    assert.are.equal(-1, bit.arshift(-1, 31))
    assert.are.equal(-4, bit.arshift(-8, 1))
    assert.are.equal(4, bit.arshift(8, 1))
  end)

  it("looks at and changes single bits", function()
    assert.are.equal(8, bit.bit(3))
    assert.are.equal(-2147483648, bit.bit(31))
    assert.is_true(bit.isset(5, 2))
    assert.is_false(bit.isset(5, 1))
    assert.is_true(bit.isclear(5, 1))
    assert.is_true(bit.isset(-1, 31))
    assert.are.equal(11, bit.set(1, 1, 3))
    assert.are.equal(5, bit.clear(13, 3))
    assert.are.equal(4, bit.clear(7, 0, 1))
    assert.are.equal(7, bit.set(7, 0))
  end)

  it("agrees with itself on many numbers", function()
    for _, a in ipairs { 0, 1, 5, 255, 65535, 123456789, 2147483647, -1, -2, -123456789 } do
      for _, b in ipairs { 0, 3, 240, -7, 987654321 } do
        assert.are.equal(a, bit.bxor(bit.bxor(a, b), b))
        assert.are.equal(a, bit.bor(bit.band(a, b), bit.band(a, bit.bnot(b))))
        assert.are.equal(bit.bnot(bit.band(a, b)), bit.bor(bit.bnot(a), bit.bnot(b)))
      end
    end
  end)
end)
