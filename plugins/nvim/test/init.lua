-- Runs the tests: `nvim --headless -u test/init.lua`, with imgctl on the path and a daemon of its own (see test.sh).
local here = vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p:h")
vim.opt.runtimepath:prepend(vim.fn.fnamemodify(here, ":h"))
vim.opt.swapfile = false
vim.opt.shadafile = "NONE"
vim.cmd("filetype plugin on | runtime plugin/imgd.lua")
package.path = here .. "/?.lua;" .. package.path

local passed, failed = 0, 0
local function run(file)
  local cases = dofile(file)
  local names = vim.tbl_keys(cases)
  table.sort(names)
  for _, name in ipairs(names) do
    require("support").begin()
    local ok, why = xpcall(cases[name], debug.traceback)
    if ok then
      passed = passed + 1
      io.stdout:write(("ok      %s\n"):format(name))
    else
      failed = failed + 1
      io.stdout:write(("FAILED  %s\n%s\n"):format(name, why))
    end
  end
end

-- The tests begin once Neovim is done with starting, as a person's commands do.
vim.api.nvim_create_autocmd("VimEnter", {
  callback = function()
    vim.schedule(function()
      for _, file in ipairs(vim.fn.sort(vim.fn.glob(here .. "/*_test.lua", true, true))) do
        run(file)
      end
      io.stdout:write(("%d passed, %d failed\n"):format(passed, failed))
      vim.cmd((failed > 0 or passed == 0) and "cquit!" or "qall!")
    end)
  end,
})
