--- What the tests share: a fresh buffer in a folder of its own, waiting, and what a person was told.
local M = {}

local PATIENCE_MS = 120000

--- Messages since the test began: { text, level }.
M.told = {}

function M.begin()
  require("imgd.drawings").cancel(true)
  M.wait(M.idle, "the test before is over")
  local config = require("imgd.config").values
  config.folder, config.insert, config.links, config.options = nil, "below", {}, {}
  config.imgctl, config.socket = "imgctl", nil
  vim.cmd("silent! %bwipeout!")
  M.told = {}
  vim.notify = function(text, level)
    table.insert(M.told, { text = text, level = level })
  end
end

--- Opens a file with these lines, the cursor on the first, and returns its buffer and folder.
function M.open(name, lines)
  local folder = vim.fn.tempname() .. " a (b)"
  vim.fn.mkdir(folder, "p")
  vim.cmd("edit " .. vim.fn.fnameescape(folder .. "/" .. name))
  vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
  vim.cmd("silent write")
  -- What follows is a step of undoing of its own.
  vim.cmd("let &g:undolevels = &g:undolevels")
  return vim.api.nvim_get_current_buf(), folder
end

function M.idle()
  return #require("imgd.drawings").active == 0
end

function M.wait(condition, what)
  if not vim.wait(PATIENCE_MS, condition, 10) then
    error("waited in vain: " .. what, 2)
  end
end

function M.finish()
  M.wait(M.idle, "the pictures are finished")
end

function M.lines(buffer)
  return vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false)
end

function M.equal(is, should)
  if not vim.deep_equal(is, should) then
    error(("is %s\nnot %s"):format(vim.inspect(is), vim.inspect(should)), 2)
  end
end

function M.matches(text, pattern)
  if not tostring(text):match(pattern) then
    error(("%s\ndoes not match %s"):format(vim.inspect(text), pattern), 2)
  end
end

--- The first message of a level, or of any.
function M.message(level)
  for _, one in ipairs(M.told) do
    if not level or one.level == level then
      return one.text
    end
  end
end

--- Whether a file begins as a PNG does, and its width and height.
function M.png(path)
  local file = assert(io.open(path, "rb"))
  local head = file:read(24)
  file:close()
  assert(head:sub(1, 8) == "\137PNG\r\n\26\n", path .. " is no PNG")
  local function number(at)
    return head:byte(at + 2) * 256 + head:byte(at + 3)
  end
  return number(17), number(21)
end

--- Objects of `imgctl --json …`.
function M.imgctl(...)
  return assert(require("imgd.program").run({ ... }, PATIENCE_MS))
end

return M
